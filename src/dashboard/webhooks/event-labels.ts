import { typedKeys } from '../../common/typed-keys.ts';
import type { EventType, Message } from './operations.ts';

/** The words for the types of events, in the order of the form. */
export const eventLabels: Readonly<Record<EventType | Message['type'], string>> = {
  CONNECTION_CREATED: 'Connection created',
  CONNECTION_UPDATED: 'Connection updated',
  CONNECTION_DELETED: 'Connection deleted',
  CONNECTION_RESTORED: 'Connection restored',
  CONNECTION_PURGED: 'Connection removed for good',
  CONNECTION_VERIFIED: 'Connection verified',
  CONNECTION_FAILING: 'Connection failing',
  CONNECTION_RECOVERED: 'Connection recovered',
  CONNECTION_EXPIRING: 'Credentials about to end',
  CONNECTION_EXPIRED: 'Credentials ended',
  CONNECTION_KEY_ROTATION_STARTED: 'Key rotation started',
  CONNECTION_KEY_ROTATED: 'Key rotated',
  CONNECTION_TOKEN_REVOKED: 'Replaced token revoked',
  CONNECTION_TOKEN_NOT_REVOKED: 'Replaced token not revoked',
  CONNECTION_POLICY_CHANGED: 'Use policy changed',
  HOST_UNREACHABLE: 'Host unreachable',
  HOST_RECOVERED: 'Host recovered',
  HOST_CERTIFICATE_EXPIRING: 'The certificate of a host ends soon',
  WEBHOOK_TEST: 'Test event',
};

/** The types to which an endpoint can subscribe. A test event is sent only on request. */
export const subscribableTypes = typedKeys(eventLabels).filter((type) => type !== 'WEBHOOK_TEST');
