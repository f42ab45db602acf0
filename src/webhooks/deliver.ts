import { isOrganisationEnabled } from '../audit/trail-head.ts';
import { currentTime, currentTimeMs } from '../common/clock.ts';
import { sql } from '../database/sql.ts';
import { readRetryAfter } from '../outbound/response-times.ts';
import { type BatchResult, busyMs, type DeliveryDeps, deliverDigest } from './deliver-digest.ts';
import { maxPending, queueMessages } from './enqueue.ts';
import { activeSecrets, openWebhookSecrets } from './secrets.ts';
import { sendMessage } from './send.ts';
import { type Attempted, isDelivered, storeFailure } from './store-attempt.ts';
import { createDeliveryStore } from './store-deliveries.ts';
import { isDigest, WebhookEndpoint } from './webhook-endpoint.entity.ts';
import { WebhookMessage } from './webhook-message.entity.ts';

/** The most requests to an endpoint at a time; one while it fails. */
const maxConcurrency = 8;
const batchSize = 100;
/** How long a full queue waits at most, in milliseconds: a message that was sent again on request may have been overlooked. */
const maxFullMs = 60_000;
/** A batch starts no request after this time, in milliseconds. Its last ones end before the lease does. */
const batchMs = 10_000;
/** How long a server has an endpoint to itself, in milliseconds. After its death, another one goes on. */
export const leaseMs = 30_000;

/**
 * Delivers the messages of an endpoint that are due, in order within each connection, until none is.
 *
 * @param isWoken whether there are new events since the last call
 */
export async function deliverMessages(
  deps: DeliveryDeps,
  target: { id: string; orgId: string; leaseId: string },
  isWoken: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const endpoint = await claim(deps, target);
    if (!endpoint) break;
    isWoken();
    const queued = await queueMessages(deps, endpoint);
    if (queued === 'outdated') continue;
    const messages = await findDue(deps, endpoint);
    if (messages.length > 0) {
      // Messages that were made after a change of the endpoint must not be sent to its former address.
      const current = await readEndpoint(deps, target);
      if (!current) continue;
      const deliver = isDigest(current.format) ? deliverDigest : deliverBatch;
      const { hasFailed, pausedUntil } = await deliver(deps, current, messages, signal);
      // Other endpoints of the organisation have their turn.
      if (hasFailed) return release(deps, target, { pausedUntil });
    } else if (queued !== 'more' && !isWoken()) {
      return release(deps, target, { isFull: queued === 'full' });
    }
  }
  await release(deps, target);
}

/**
 * Takes or renews the lease. Returns undefined if another server has it, or the endpoint or its organisation is disabled or deleted.
 */
async function claim(
  deps: DeliveryDeps,
  { id, orgId, leaseId }: { id: string; orgId: string; leaseId: string },
): Promise<WebhookEndpoint | undefined> {
  if (!(await isOrganisationEnabled(deps, orgId))) return undefined;
  const now = currentTimeMs();
  const claimed = await deps.database.forOrganisation(orgId).execute(
    `update webhook_endpoint set lease_id = ?, lease_until = ?
      where id = ? and disabled_at is null and (lease_id = ? or lease_until is null or lease_until < ?) returning 1`,
    [leaseId, new Date(now + leaseMs), id, leaseId, new Date(now)],
  );
  return claimed.length > 0 ? readEndpoint(deps, { id, orgId, leaseId }) : undefined;
}

/** Returns undefined if this server has the lease no longer, or the endpoint is disabled or deleted. */
async function readEndpoint(
  { database }: DeliveryDeps,
  { id, orgId, leaseId }: { id: string; orgId: string; leaseId: string },
): Promise<WebhookEndpoint | undefined> {
  const endpoint = await database
    .forOrganisation(orgId)
    .findOne(
      WebhookEndpoint,
      { id, orgId, leaseId, disabledAt: null },
      { populate: ['sealedSecrets', 'mac'] },
    );
  return endpoint ?? undefined;
}

/** When an endpoint that was released has its next turn. */
interface Pause {
  /** Whether the queue is full of messages that wait: there is nothing to do before the first of them. */
  isFull?: boolean;
  /** The receiver accepts nothing before. */
  pausedUntil?: Date | undefined;
}

/** Ends the lease, if this server still has it. */
async function release(
  { database }: DeliveryDeps,
  { id, orgId, leaseId }: { id: string; orgId: string; leaseId: string },
  { isFull = false, pausedUntil }: Pause = {},
): Promise<void> {
  await database.forOrganisation(orgId).execute(
    `update webhook_endpoint set lease_id = null, next_attempt_at = due.at,
        lease_until = case when ? then least(due.at, ?) else ?::timestamptz end
      from (select min(next_attempt_at) as at from (
          select distinct on (coalesce(connection_id, id), recipient) next_attempt_at from webhook_message
          where endpoint_id = ? and status = 'PENDING'
          order by coalesce(connection_id, id), recipient, seq, type) as first) as due
      where id = ? and lease_id = ?`,
    [isFull, new Date(currentTimeMs() + maxFullMs), pausedUntil ?? null, id, id, leaseId],
  );
}

/**
 * Finds messages that are due and have none before them, for the same connection, that is not. Of a digest, all are due when one
 * is; of owners, those of one owner at a time.
 */
async function findDue(
  { database, vault }: DeliveryDeps,
  { id, orgId, format }: WebhookEndpoint,
): Promise<WebhookMessage[]> {
  const now = new Date(currentTimeMs());
  const due = isDigest(format)
    ? sql`as message where endpoint_id = ${id} and status = 'PENDING' and exists (select from (
          select recipient from webhook_message
          where endpoint_id = ${id} and status = 'PENDING' and next_attempt_at <= ${now}
          order by next_attempt_at, id limit 1) as due
        where due.recipient is not distinct from message.recipient)
      order by seq, type limit ${maxPending}`
    : sql`as message where endpoint_id = ${id} and status = 'PENDING' and next_attempt_at <= ${now}
      and not exists (select from webhook_message as earlier
        where earlier.endpoint_id = ${id} and earlier.status = 'PENDING' and earlier.next_attempt_at > ${now}
          and earlier.connection_id = message.connection_id
          and (earlier.seq, earlier.type) < (message.seq, message.type))
      order by seq, type limit ${batchSize}`;
  const rows = await database.select(WebhookMessage, orgId, due, { properties: ['id'] });
  if (rows.length === 0) return [];
  const em = database.forOrganisation(orgId);
  const messages = await em.find(
    WebhookMessage,
    { orgId, id: { $in: rows.map((row) => row.id) } },
    { populate: ['body', 'mac'], orderBy: { seq: 'asc', type: 'asc' } },
  );
  const macs = await vault.rowMacs(em);
  const isAuthentic = (message: WebhookMessage) => macs.isAuthentic(em, WebhookMessage, message);
  const forged = messages.filter((message) => !isAuthentic(message)).map((message) => message.id);
  if (forged.length > 0)
    await em.nativeUpdate(WebhookMessage, { orgId, id: { $in: forged } }, { status: 'FAILED' });
  return messages.filter((message) => !forged.includes(message.id));
}

async function deliverBatch(
  deps: DeliveryDeps,
  endpoint: WebhookEndpoint,
  messages: readonly WebhookMessage[],
  signal: AbortSignal,
): Promise<BatchResult> {
  const em = deps.database.forOrganisation(endpoint.orgId);
  const secrets = activeSecrets(await openWebhookSecrets(deps.vault, em, endpoint), endpoint);
  const chains = [...Map.groupBy(messages, ({ id, connectionId }) => connectionId ?? id).values()];
  const end = performance.now() + batchMs;
  let hasFailed = false;
  let isCurrent = true;
  let pausedUntil: Date | undefined;
  const mayGoOn = () => isCurrent && !hasFailed && !signal.aborted && performance.now() < end;
  const store = createDeliveryStore(deps, endpoint);
  const stores: Promise<void>[] = [];
  const storeResult = async (attempted: Attempted) => {
    const hasDelivered = isDelivered(attempted.result);
    const isStillCurrent = await (hasDelivered
      ? store(attempted)
      : storeFailure(deps, endpoint, [attempted]));
    isCurrent &&= isStillCurrent;
  };
  const send = async (message: WebhookMessage) => {
    const result = await sendMessage(deps, endpoint, message, { secrets, signal });
    if (!result) {
      hasFailed = true;
      if (!signal.aborted) pausedUntil ??= new Date(currentTimeMs() + busyMs);
    } else if (!isDelivered(result)) {
      // The next request goes out alone, and not before the receiver asks for it.
      hasFailed = true;
      pausedUntil = readRetryAfter(result.headers, currentTime()) ?? pausedUntil;
    }
    return result;
  };
  const deliverChains = async () => {
    for (let chain = chains.shift(); chain && mayGoOn(); chain = chains.shift()) {
      for (const message of chain) {
        if (!mayGoOn()) return;
        const result = await send(message);
        if (!result) return;
        const stored = storeResult({ message, result });
        stored.catch(() => {
          hasFailed = true;
        });
        stores.push(stored);
        // The next message of the connection waits; those of other connections do not.
        if (message !== chain.at(-1)) await stored;
      }
    }
  };
  const concurrency = endpoint.failingSince ? 1 : maxConcurrency;
  await Promise.all(Array.from({ length: concurrency }, deliverChains));
  await Promise.all(stores);
  return { hasFailed, pausedUntil };
}
