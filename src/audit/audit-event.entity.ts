import { defineEntity, p } from '@mikro-orm/core';
import { Organisation } from '../access/organisation.entity.ts';
import { keptApart } from '../database/policies.ts';
import type { ErrorCode } from '../errors.ts';
import { authenticateRows } from '../secrets/row-macs.ts';

/** What somebody did, or tried to do. */
export const auditActions = {
  CREATE_CONNECTION: 'A connection was to be made.',
  UPDATE_CONNECTION: 'A connection was to be changed.',
  VERIFY_CONNECTION: 'The app was to be asked again whether the credentials work.',
  DELETE_CONNECTION: 'A connection was to be deleted, with a way back.',
  PURGE_CONNECTION: 'A connection was to be removed for good.',
  RESTORE_CONNECTION: 'A deleted connection was to be brought back.',
  READ_CONNECTIONS: 'Connections were to be read. Only refusals are kept.',
  VALIDATE_CREDENTIALS: 'Credentials were to be tried without keeping them. Only refusals are kept.',
  CREATE_ORGANISATION: 'The organisation was made.',
  ROTATE_KEYS:
    'The operator rotated keys: `rootKey`, the one that wraps the keys of the organisation, or `sealKey`, the one that seals credentials.',
  CREATE_PROJECT: 'A project was to be made.',
  RENAME_PROJECT: 'A project was to be given another name.',
  READ_PROJECTS: 'Projects were to be read. Only refusals are kept.',
  CREATE_API_KEY: 'An API key was to be made, with the scopes that `changedFields` names.',
  REVOKE_API_KEY: 'An API key was to be revoked.',
  READ_API_KEYS: 'API keys were to be read. Only refusals are kept.',
  READ_AUDIT_EVENTS: 'The audit trail was to be read. Only refusals are kept.',
  AUTHENTICATE_ROWS:
    'The server began to authenticate rows of the database. Rows that an older version had stored were taken as they were.',
  SIGN_IN:
    'A credential was refused. Those like one that has its event are counted, and told of once a minute.',
} as const;

export type AuditAction = keyof typeof auditActions;

const AuditEventSchema = defineEntity({
  name: 'AuditEvent',
  tableName: 'audit_event',
  ...keptApart('audit_event'),
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
  ...keptApart('audit_head'),
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
