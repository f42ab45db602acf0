import type { EntityManager } from '@mikro-orm/postgresql';
import type { Vault } from '../encryption/vault.ts';
import type { AuditEvent } from './audit-event.entity.ts';

/** Fields that are hashed only if they are not null, so that events from before a field was added keep their hash. */
const optionalFields = [
  'keyId',
  'subject',
  'connectionId',
  'connectionName',
  'projectId',
  'apiKeyId',
  'targetName',
  'setupLinkId',
  'address',
  'requestId',
  'count',
] as const;

/** The fields of an event that are hashed. */
type HashedEvent = Pick<
  AuditEvent,
  'orgId' | 'seq' | 'at' | 'action' | 'outcome' | 'fields' | 'previousHash'
> &
  Partial<Pick<AuditEvent, (typeof optionalFields)[number]>>;

/** Computes the hash of an event: a MAC, under the audit key of its organisation, over all other fields. */
export function computeEventHash(
  em: EntityManager,
  vault: Vault,
  event: HashedEvent,
  seq = event.seq,
): Promise<string> {
  const { orgId, at, action, outcome, fields, previousHash } = event;
  const present = optionalFields.flatMap((name) => (event[name] == null ? [] : [[name, event[name]]]));
  return vault.mac(em, orgId, 'AUDIT', {
    orgId,
    seq,
    at,
    action,
    outcome,
    fields,
    previousHash,
    ...Object.fromEntries(present),
  });
}
