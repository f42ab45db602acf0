import type { AuditAction, AuditEvent } from '../audit/audit-event.entity.ts';

/** The types of events, with their descriptions in the GraphQL schema. */
export const webhookEventTypes = {
  'connection.created': 'A connection was created.',
  'connection.updated':
    'A connection was updated, or a conversion of it was started, cancelled or completed.',
  'connection.deleted': 'A connection was deleted. It can be restored.',
  'connection.restored': 'A deleted connection was restored.',
  'connection.purged': 'A connection was removed for good.',
  'connection.verified': 'The credentials of a connection were verified, and work.',
  'connection.failing': 'A verification or a check has found that a connection does not work.',
  'connection.recovered': 'A connection that did not work works again.',
  'connection.expiring':
    'The credentials of a connection end within 14 days, 7 days or a day, or their owner is no longer active. Each is sent once.',
  'connection.expired':
    'The time has passed at which the credentials of a connection end, as far as it is known.',
  'connection.key_rotation_started':
    'A new key was made for a connection. The old one is used until the app accepts it.',
  'connection.key_rotated': 'The app has accepted the new key of a connection.',
  'connection.token_revoked': 'A token that another credential had replaced was revoked at the app.',
  'connection.token_not_revoked':
    'A token that another credential had replaced could not be revoked at the app within a day.',
  'connection.policy_changed': 'The use policy of a connection was changed.',
  'host.unreachable':
    'A host does not answer the checks of its connections. It is for endpoints of the whole organisation.',
  'host.recovered': 'A host answers again. It is for endpoints of the whole organisation.',
  'host.certificate_expiring':
    'The TLS certificate of a host ends within 14 days, 7 days or a day. Each is sent once. It is for endpoints of the whole organisation.',
  'webhook.test': 'A test event. It is sent only on request.',
} as const;

export type WebhookEventType = keyof typeof webhookEventTypes;

/** The members of an audit event that decide which events it is. */
type Outcome = Pick<AuditEvent, 'outcome' | 'fields'>;

const isOk = ({ outcome }: Outcome) => outcome === 'OK';
const toVerificationEvent = (event: Outcome): WebhookEventType => {
  if (!isOk(event)) return 'connection.failing';
  return hasRecovered(event) ? 'connection.recovered' : 'connection.verified';
};
/** `failingSince` is among the fields of a change that clears it. */
const hasRecovered = ({ fields }: Outcome) => fields.includes('failingSince');

/**
 * The event that each audited action is, or null. A new action declares its event here; the audit event is stored in the
 * transaction of its change, so the event is sent if and only if the change was committed.
 */
const declarations: Readonly<
  Record<AuditAction, WebhookEventType | null | ((event: Outcome) => WebhookEventType)>
> = {
  CREATE_CONNECTION: 'connection.created',
  UPDATE_CONNECTION: 'connection.updated',
  CONVERT_CONNECTION: 'connection.updated',
  CANCEL_CONVERSION: 'connection.updated',
  REVOKE_TOKEN: (event) => (isOk(event) ? 'connection.token_revoked' : 'connection.token_not_revoked'),
  VERIFY_CONNECTION: toVerificationEvent,
  CHECK_CONNECTION: toVerificationEvent,
  CHECK_HOST: (event) => (isOk(event) ? 'host.recovered' : 'host.unreachable'),
  WARN_OF_EXPIRY: 'connection.expiring',
  WARN_OF_CERTIFICATE: 'host.certificate_expiring',
  EXPIRE_CONNECTION: 'connection.expired',
  DELETE_CONNECTION: 'connection.deleted',
  PURGE_CONNECTION: 'connection.purged',
  RESTORE_CONNECTION: 'connection.restored',
  UPDATE_USE_POLICY: 'connection.policy_changed',
  ROTATE_CONNECTION_KEY: 'connection.key_rotation_started',
  ACTIVATE_CONNECTION_KEY: 'connection.key_rotated',
  REGISTER_CONNECTION_KEY: 'connection.updated',
  REMOVE_CONNECTION_KEY: 'connection.updated',
  READ_CONNECTIONS: null,
  USE_CONNECTION: null,
  VALIDATE_CREDENTIALS: null,
  CREATE_ORGANISATION: null,
  DISABLE_ORGANISATION: null,
  ENABLE_ORGANISATION: null,
  SCHEDULE_ORGANISATION_DELETION: null,
  CANCEL_ORGANISATION_DELETION: null,
  DELETE_ORGANISATION: null,
  EXPORT_ORGANISATION: null,
  IMPORT_ORGANISATION: null,
  ROTATE_KEYS: null,
  CREATE_PROJECT: null,
  RENAME_PROJECT: null,
  READ_PROJECTS: null,
  CREATE_API_KEY: null,
  REVOKE_API_KEY: null,
  READ_API_KEYS: null,
  READ_AUDIT_EVENTS: null,
  CREATE_SETUP_LINK: null,
  OPEN_SETUP_LINK: null,
  FINISH_SETUP_LINK: null,
  REVOKE_SETUP_LINK: null,
  READ_SETUP_LINKS: null,
  CREATE_WEBHOOK_ENDPOINT: null,
  UPDATE_WEBHOOK_ENDPOINT: null,
  DELETE_WEBHOOK_ENDPOINT: null,
  ROTATE_WEBHOOK_SECRET: null,
  DISABLE_WEBHOOK_ENDPOINT: null,
  UNSUBSCRIBE_ADDRESS: null,
  RESUBSCRIBE_ADDRESS: null,
  SEND_TEST_WEBHOOK: null,
  REDELIVER_WEBHOOKS: null,
  READ_WEBHOOKS: null,
  AUTHENTICATE_ROWS: null,
  SIGN_IN: null,
};

/** Returns the types of the events that an audit event is: none, one, or an update and a recovery. */
export function toWebhookEventTypes(
  event: Pick<AuditEvent, 'action' | 'outcome' | 'fields'>,
): WebhookEventType[] {
  // Refused attempts have no changed fields; a host has none either.
  if (event.fields.length === 0 && event.action !== 'CHECK_HOST') return [];
  const declared = declarations[event.action];
  if (declared === null) return [];
  if (typeof declared === 'function') return [declared(event)];
  return hasRecovered(event) ? [declared, 'connection.recovered'] : [declared];
}
