import { defineEntity, p } from '@mikro-orm/core';
import type { ErrorCode } from '../common/errors.ts';
import { tenantIsolated } from '../database/row-level-security.ts';
import { authenticateRows } from '../encryption/row-macs.ts';
import { Organisation } from '../identity/organisation.entity.ts';

/** The actions that are audited, with their descriptions in the GraphQL schema. */
export const auditActions = {
  CREATE_CONNECTION: 'Creation of a connection.',
  UPDATE_CONNECTION: 'Update of a connection.',
  CONVERT_CONNECTION:
    'Conversion of a connection to another method, or to keys of another kind. With `conversion` in `changedFields`: its start, or its verification, which failed if `outcome` is a code. With `method`: its completion.',
  REVOKE_TOKEN:
    'A token that another credential had replaced was revoked at the app, or was not within a day, if `outcome` is a code. Either way, the server has deleted it.',
  CANCEL_CONVERSION: 'Cancellation of a pending conversion of a connection.',
  VERIFY_CONNECTION: 'Verification of a connection.',
  CHECK_CONNECTION:
    'A check on the schedule found that the credentials of a connection no longer work, or work again.',
  CHECK_HOST:
    'A check on the schedule found that a host does not answer, or answers again. Its origin is in `targetName`.',
  WARN_OF_EXPIRY:
    'The credentials of a connection end within 14 days, 7 days or a day, or their owner is no longer active. The reason and the time are in `targetName`.',
  WARN_OF_CERTIFICATE:
    'The TLS certificate of a host ends within 14 days, 7 days or a day. The origin and the time are in `targetName`.',
  EXPIRE_CONNECTION:
    'The time has passed at which the credentials of a connection end, as far as it is known. The reason and the time are in `targetName`.',
  DELETE_CONNECTION: 'Deletion of a connection, which can be restored.',
  PURGE_CONNECTION: 'Permanent removal of a connection.',
  RESTORE_CONNECTION: 'Restoration of a deleted connection.',
  UPDATE_USE_POLICY: 'Change of the use policy of a connection.',
  READ_CONNECTIONS: 'Reading connections. Only refusals are recorded.',
  ROTATE_CONNECTION_KEY:
    'A new key was made for a connection. The old one is used until the app accepts it. The id of the new key is in `targetName`.',
  ACTIVATE_CONNECTION_KEY:
    'The app has accepted the new key of a connection, which replaces the old one. Its id is in `targetName`.',
  REGISTER_CONNECTION_KEY:
    'The app has not let the server add or remove a key of a connection, for another reason than before. `outcome` has the code, and the id of the key is in `targetName`.',
  REMOVE_CONNECTION_KEY:
    'The server has removed a key at the app that another one had replaced, or that a former client of the app had. Its id is in `targetName`. If the app keeps it, `outcome` has the code.',
  USE_CONNECTION:
    'Requests to an app through a connection. Each write is recorded, with method, path and status in `targetName`; reads are counted, and recorded once a minute.',
  VALIDATE_CREDENTIALS: 'Validation of credentials without storing them. Only refusals are recorded.',
  CREATE_ORGANISATION: 'Creation of the organisation.',
  DISABLE_ORGANISATION: 'The operator disabled the organisation. The reason is in `targetName`.',
  ENABLE_ORGANISATION: 'The operator enabled the organisation again.',
  SCHEDULE_ORGANISATION_DELETION:
    'The operator scheduled the deletion of the organisation. The time, and the reason if there is one, are in `targetName`.',
  CANCEL_ORGANISATION_DELETION: 'The operator cancelled the deletion of the organisation.',
  DELETE_ORGANISATION: 'The deletion of the organisation has begun. It is the last event of its trail.',
  EXPORT_ORGANISATION:
    'The operator exported the organisation, with its keys and credentials encrypted. Only in the trail of the server.',
  IMPORT_ORGANISATION:
    'The operator imported the organisation from an export of another database. Only in the trail of the server.',
  ROTATE_KEYS:
    'The operator rotated keys: `rootKey`, which wraps the keys of the organisation, or `sealKey`, which encrypts credentials.',
  CREATE_PROJECT: 'Creation of a project.',
  RENAME_PROJECT: 'Renaming of a project.',
  READ_PROJECTS: 'Reading projects. Only refusals are recorded.',
  CREATE_API_KEY: 'Creation of an API key, with the scopes in `changedFields`.',
  REVOKE_API_KEY: 'Revocation of an API key.',
  READ_API_KEYS: 'Reading API keys. Only refusals are recorded.',
  READ_AUDIT_EVENTS: 'Reading the audit trail. Only refusals are recorded.',
  CREATE_SETUP_LINK: 'Creation of a setup link of a connection.',
  OPEN_SETUP_LINK: 'The first time that a setup link was opened.',
  FINISH_SETUP_LINK: 'A setup link has led to working credentials, and is used up.',
  REVOKE_SETUP_LINK: 'Revocation of a setup link.',
  READ_SETUP_LINKS: 'Reading setup links. Only refusals are recorded.',
  CREATE_WEBHOOK_ENDPOINT:
    'Creation of a webhook endpoint. Its id is in `targetName`, as in all events about endpoints.',
  UPDATE_WEBHOOK_ENDPOINT: 'Update of a webhook endpoint.',
  DELETE_WEBHOOK_ENDPOINT: 'Deletion of a webhook endpoint, with its messages.',
  ROTATE_WEBHOOK_SECRET: 'A new secret was made for a webhook endpoint.',
  DISABLE_WEBHOOK_ENDPOINT:
    'The server has disabled a webhook endpoint, because every attempt of three days has failed, or because the receiver has answered 410 Gone.',
  UNSUBSCRIBE_ADDRESS:
    'The owner of an e-mail address, which is in `targetName`, has stopped the e-mails of the organisation with the link in one of them.',
  RESUBSCRIBE_ADDRESS: 'The owner of the address gets the e-mails of the organisation again.',
  SEND_TEST_WEBHOOK: 'A test event was sent to a webhook endpoint.',
  REDELIVER_WEBHOOKS: 'Messages of a webhook endpoint are sent again.',
  READ_WEBHOOKS: 'Reading webhook endpoints or their messages. Only refusals are recorded.',
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
    /** The API key of the request; null if there was none. */
    keyId: p.uuid().nullable(),
    /** The subject of the access token; null if there was none. */
    subject: p.text().nullable(),
    connectionId: p.uuid().nullable(),
    projectId: p.uuid().nullable(),
    /** The name of the connection at the time, so that it can be identified after it is purged. */
    connectionName: p.text().nullable(),
    /** The API key that was created or revoked. */
    apiKeyId: p.uuid().nullable(),
    /**
     * The name of the API key or the project that the event is about; for a write through a connection, the request; for the
     * rotation of the key of a connection, the id of the key; for webhooks, the id of the endpoint; for the end of credentials, its
     * reason and time.
     */
    targetName: p.text().nullable(),
    /** The setup link that the event is about, or that acted if there is neither a key nor a subject. */
    setupLinkId: p.uuid().nullable(),
    address: p.text().nullable(),
    requestId: p.uuid().nullable(),
    /**
     * `OK`, or the code of the error with which the attempt was refused. `CLIENT_DISCONNECTED`: the client of a request
     * through a connection did not wait for the response.
     */
    outcome: p.text().$type<'OK' | 'CLIENT_DISCONNECTED' | ErrorCode>(),
    /** The names of the fields that changed, never their values. */
    fields: p.array(),
    /** The number of refusals that the event stands for; null for a single attempt. */
    count: p.integer().nullable(),
    /** The hash of the previous event; empty for the first. */
    previousHash: p.text(),
    /** Keyed hash of all fields above. */
    hash: p.text(),
  },
  // One for each filter, in the order of the list.
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

/** An action that succeeded or was refused. Events are append-only. */
export class AuditEvent extends AuditEventSchema.class {}
AuditEventSchema.setClass(AuditEvent);

const AuditHeadSchema = defineEntity({
  name: 'AuditHead',
  tableName: 'audit_head',
  ...tenantIsolated('audit_head'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id').deleteRule('restrict'),
    /** The number of events. */
    seq: p.integer(),
    /** The hash of the last event; empty if there is none. */
    hash: p.text(),
    /** The time at which the operator disabled the organisation; null if it is enabled. */
    disabledAt: p.datetime(3).nullable(),
    /** The time from which the disabled organisation is deleted; null if its deletion is not scheduled. */
    deleteAt: p.datetime(3).nullable(),
    /** The time from which nothing of the organisation may change any more; null before its deletion has begun. */
    deletionStartedAt: p.datetime(3).nullable(),
    mac: p
      .text()
      .hidden()
      .onCreate(() => ''),
  },
  indexes: [{ name: 'audit_head_disabled', properties: ['orgId'], where: '"disabled_at" is not null' }],
});

/**
 * The head of the hash chain of an organisation, and whether the organisation is disabled. A transaction that appends events locks this
 * row, so that none is stored after the organisation was disabled (docs/adr/0018-status-in-the-audit-head.md).
 */
export class AuditHead extends AuditHeadSchema.class {}
AuditHeadSchema.setClass(AuditHead);
authenticateRows(AuditHead);
