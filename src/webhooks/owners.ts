import { currentTimeMs } from '../common/clock.ts';
import { AppConnection } from '../connections/app-connection.entity.ts';
import { findPendingKey } from '../connections/credentials/key-states.ts';
import type { Database } from '../database/database.ts';
import { type Digest, type DigestState, intervalMs } from './digest.ts';
import type { WebhookEventType } from './event-types.ts';
import type { WebhookEndpoint } from './webhook-endpoint.entity.ts';
import type { WebhookMessage } from './webhook-message.entity.ts';

/** The events that owners get e-mails about: those that may need an action of theirs, and their end. */
const ownerEvents: ReadonlySet<WebhookEventType> = new Set<WebhookEventType>([
  ...(['connection.failing', 'connection.recovered'] as const),
  ...(['connection.expiring', 'connection.expired'] as const),
  ...(['connection.token_revoked', 'connection.token_not_revoked'] as const),
  ...(['connection.key_rotation_started', 'connection.deleted', 'connection.restored'] as const),
  ...(['host.unreachable', 'host.recovered', 'host.certificate_expiring'] as const),
]);

/** Whether the owners of connections get e-mails about an event. */
export function concernsOwner(type: WebhookEventType): boolean {
  return ownerEvents.has(type);
}

/** The state of an owner who has got no digest. The state of the endpoint is that of all owners together. */
const noDigest: DigestState = { lastSuccessAt: null, failingSince: null, nextAttemptAt: null };

/** Reads when the last digest was delivered to each owner, and when one that failed is sent again. */
export async function readDigestStates(
  { database }: { database: Database },
  { id, orgId }: Pick<WebhookEndpoint, 'id' | 'orgId'>,
  recipients: readonly string[],
): Promise<Map<string, DigestState>> {
  const rows = await database
    .forOrganisation(orgId)
    .execute<Record<'recipient' | 'deliveredAt' | 'failingSince' | 'retryAt', string>[]>(
      `select recipient, max(log->-1->>'at') filter (where status = 'DELIVERED') as "deliveredAt",
        min(failed_since) filter (where status = 'PENDING') as "failingSince",
        max(next_attempt_at) filter (where status = 'PENDING' and failed_since is not null) as "retryAt"
      from webhook_message where endpoint_id = ? and recipient in (select json_array_elements_text(?))
      group by recipient`,
      [id, JSON.stringify(recipients)],
    );
  const toDate = (time: string | null) => (time === null ? null : new Date(time));
  const states = new Map(recipients.map((recipient) => [recipient, noDigest]));
  for (const { recipient, deliveredAt, failingSince, retryAt } of rows)
    states.set(recipient, {
      lastSuccessAt: toDate(deliveredAt),
      failingSince: toDate(failingSince),
      nextAttemptAt: toDate(retryAt),
    });
  return states;
}

/** Says why the recipient gets a digest, and how to get no more. */
export function addressToOwner({ subject, text }: Digest): Digest {
  return {
    subject: `${subject} of your connections`,
    text: [
      'You get this e-mail because you are the owner of these connections, or of connections to these hosts:',
      text,
      'To get no more of them, ask somebody who may change the connections (the scope connections:write) to name another owner, or none.',
    ].join('\n\n'),
  };
}

/**
 * Deletes messages about new keys that the app has accepted by now: most apps do so within seconds, without any work of the owner.
 *
 * @returns the other messages
 */
export async function dropAcceptedKeys(
  { database }: { database: Database },
  orgId: string,
  messages: readonly WebhookMessage[],
): Promise<WebhookMessage[]> {
  const rotations = messages.filter(({ type }) => type === 'connection.key_rotation_started');
  const ids = rotations.flatMap(({ connectionId }) => connectionId ?? []);
  if (ids.length === 0) return [...messages];
  const em = database.forOrganisation(orgId);
  const found = await em.find(AppConnection, { orgId, id: { $in: ids }, deletedAt: null });
  const waiting = new Set(found.filter(findPendingKey).map(({ id }) => id));
  const accepted = rotations.filter(({ connectionId }) => !waiting.has(connectionId ?? ''));
  await deleteMessages({ database }, orgId, accepted);
  return messages.filter((message) => !accepted.includes(message));
}

/** Deletes messages that are not to be sent. */
export async function deleteMessages(
  { database }: { database: Database },
  orgId: string,
  messages: readonly WebhookMessage[],
): Promise<void> {
  const ids = messages.map(({ id }) => id);
  await database
    .forOrganisation(orgId)
    .execute(`delete from webhook_message where id = any(?::uuid[])`, [`{${ids.join(',')}}`]);
}

/** Postpones all messages to a recipient that wait, also those that are tried again. No attempt is counted. */
export async function postpone(
  { database }: { database: Database },
  { id, orgId }: WebhookEndpoint,
  recipient: string | null,
  until: Date,
): Promise<void> {
  await database.forOrganisation(orgId).execute(
    `update webhook_message set next_attempt_at = greatest(next_attempt_at, ?)
      where endpoint_id = ? and recipient is not distinct from ? and status = 'PENDING'`,
    [until, id, recipient],
  );
}

/** Postpones the messages to an owner that did not fit in a digest to the time of the next one. */
export async function postponeRest(
  { database }: { database: Database },
  { id, orgId }: WebhookEndpoint,
  recipient: string,
): Promise<void> {
  await database.forOrganisation(orgId).execute(
    `update webhook_message set next_attempt_at = greatest(next_attempt_at, ?)
      where endpoint_id = ? and recipient = ? and status = 'PENDING' and failed_since is null`,
    [new Date(currentTimeMs() + intervalMs), id, recipient],
  );
}
