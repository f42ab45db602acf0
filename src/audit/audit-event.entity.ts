import { defineEntity, p } from '@mikro-orm/core';
import type { ErrorCode } from '../common/errors.ts';
import { tenantIsolated } from '../database/row-level-security.ts';
import { authenticateRows } from '../encryption/row-macs.ts';
import { Organisation } from '../identity/organisation.entity.ts';

/** What somebody did, or tried to do. */
export const auditActions = {
  CREATE_CONNECTION: 'Creation of a connection.',
  UPDATE_CONNECTION: 'Update of a connection.',
  VERIFY_CONNECTION: 'Verification of a connection.',
  DELETE_CONNECTION: 'Deletion of a connection, which can be restored.',
  PURGE_CONNECTION: 'Permanent removal of a connection.',
  RESTORE_CONNECTION: 'Restoration of a deleted connection.',
  READ_CONNECTIONS: 'Reading connections. Only refusals are recorded.',
  VALIDATE_CREDENTIALS: 'Validation of credentials without storing them. Only refusals are recorded.',
  CREATE_ORGANISATION: 'Creation of the organisation.',
  ROTATE_KEYS:
    'The operator rotated keys: `rootKey`, which wraps the keys of the organisation, or `sealKey`, which encrypts credentials.',
  CREATE_PROJECT: 'Creation of a project.',
  RENAME_PROJECT: 'Renaming of a project.',
  READ_PROJECTS: 'Reading projects. Only refusals are recorded.',
  CREATE_API_KEY: 'Creation of an API key, with the scopes in `changedFields`.',
  REVOKE_API_KEY: 'Revocation of an API key.',
  READ_API_KEYS: 'Reading API keys. Only refusals are recorded.',
  READ_AUDIT_EVENTS: 'Reading the audit trail. Only refusals are recorded.',
  AUTHENTICATE_ROWS: 'The server signed the rows of the database that an earlier version had stored.',
  SIGN_IN: 'A credential was rejected. Identical ones are counted, and recorded once a minute.',
} as const;

export type AuditAction = keyof typeof auditActions;

const AuditEventSchema = defineEntity({
  name: 'AuditEvent',
  tableName: 'audit_event',
  ...tenantIsolated('audit_event'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id'),
    /** 1 for the organisation's first event, and one more for each after it. */
    seq: p.integer().primary(),
    at: p.datetime(3),
    action: p.text().$type<AuditAction>(),
    /** The API key that was used; null when it was none. */
    keyId: p.uuid().nullable(),
    /** Who the identity provider says it was; null when it was not asked. */
    subject: p.text().nullable(),
    connectionId: p.uuid().nullable(),
    projectId: p.uuid().nullable(),
    /** The name that the connection had, so that it can be told when it is gone. */
    connectionName: p.text().nullable(),
    /** The API key that was made or revoked. */
    apiKeyId: p.uuid().nullable(),
    /** The name of the API key or the project that this is about. */
    targetName: p.text().nullable(),
    address: p.text().nullable(),
    requestId: p.uuid().nullable(),
    /** `OK`, or the code of the error with which the attempt was refused. */
    outcome: p.text().$type<'OK' | ErrorCode>(),
    /** The names of the fields that changed, never their values. */
    fields: p.array(),
    /** How many refusals it tells of that came after the first; null for one that tells of one attempt. */
    count: p.integer().nullable(),
    /** The hash of the event before; empty for the first. */
    previousHash: p.text(),
    /** Keyed hash over all of the above. */
    hash: p.text(),
  },
  // One for each filter, in the order of pages.
  indexes: [
    { name: 'audit_event_connection', properties: ['orgId', 'connectionId', 'seq'] },
    { name: 'audit_event_action', properties: ['orgId', 'action', 'seq'] },
    { name: 'audit_event_key', properties: ['orgId', 'keyId', 'seq'] },
    { name: 'audit_event_at', properties: ['orgId', 'at', 'seq'] },
    {
      name: 'audit_event_project',
      properties: ['orgId', 'projectId', 'seq'],
      where: '"project_id" is not null',
    },
    { name: 'audit_event_subject', properties: ['orgId', 'subject', 'seq'], where: '"subject" is not null' },
    { name: 'audit_event_refused', properties: ['orgId', 'outcome', 'seq'], where: `"outcome" <> 'OK'` },
  ],
});

/** Something that was done or refused. Events are only ever added. */
export class AuditEvent extends AuditEventSchema.class {}
AuditEventSchema.setClass(AuditEvent);

const AuditHeadSchema = defineEntity({
  name: 'AuditHead',
  tableName: 'audit_head',
  ...tenantIsolated('audit_head'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id').deleteRule('restrict'),
    /** How many events there are. */
    seq: p.integer(),
    /** The hash of the last one; empty while there is none. */
    hash: p.text(),
    mac: p
      .text()
      .hidden()
      .onCreate(() => ''),
  },
});

/** The end of an organisation's chain of events, made with the organisation; whoever adds an event holds its lock. */
export class AuditHead extends AuditHeadSchema.class {}
AuditHeadSchema.setClass(AuditHead);
authenticateRows(AuditHead);
