import { storeWithEvents } from '../audit/audited-change.ts';
import { type RecordedEvent, serverActor } from '../audit/hash-chain.ts';
import { currentTime } from '../common/clock.ts';
import { updateRow } from '../database/row-statements.ts';
import { findEndpointToChange } from './endpoints.ts';
import type { QueueDeps } from './enqueue.ts';
import { maxFailingMs, nextAttempt } from './retry.ts';
import type { SendResult } from './send.ts';
import { isForOwners, WebhookEndpoint } from './webhook-endpoint.entity.ts';
import type { WebhookMessage } from './webhook-message.entity.ts';

/** The entries of a log. A message has eleven attempts, and as many again if it is sent again. */
const maxLog = 20;
/** When a receiver that works is recorded again, in milliseconds. */
const successEveryMs = 60_000;
const gone = 410;

/** A message with the result of an attempt. */
export interface Attempted {
  message: WebhookMessage;
  result: SendResult;
}

/** The columns of a message that its delivery changes. */
type DeliveryColumns = Partial<
  Pick<WebhookMessage, 'status' | 'attempts' | 'log' | 'failedSince' | 'nextAttemptAt'>
>;

/** Whether the receiver has accepted a message. */
export function isDelivered({ status }: SendResult): boolean {
  return status !== null && status >= 200 && status < 300;
}

/**
 * Stores that messages were delivered to an endpoint.
 *
 * @param endpoint its `failingSince` and `lastSuccessAt` are updated
 * @returns whether this server still delivers to the endpoint, and it has not changed since it was read
 */
export async function storeDelivered(
  deps: QueueDeps,
  endpoint: WebhookEndpoint,
  delivered: readonly Attempted[],
): Promise<boolean> {
  const rows = delivered.map(({ message, result }) => ({
    id: message.id,
    ...{ status: 'DELIVERED' as const, ...addAttempt(message, result) },
  }));
  const isCurrent = await update(deps, endpoint, rows);
  await recordSuccess(deps, endpoint, currentTime());
  return isCurrent;
}

/**
 * Stores that an attempt has failed, of one message or of all in a digest. An endpoint that has done nothing but fail for three
 * days is disabled, or since the first attempt of a message that has had its last one, which can be some hours less.
 *
 * @param endpoint its `failingSince` and `disabledAt` are updated
 * @returns as `storeDelivered`
 */
export async function storeFailure(
  deps: QueueDeps,
  endpoint: WebhookEndpoint,
  failed: readonly Attempted[],
): Promise<boolean> {
  const now = currentTime();
  const rows = failed.map(({ message, result }) => {
    const nextAttemptAt = nextAttempt(message, result.headers, now);
    return {
      id: message.id,
      ...{ ...addAttempt(message, result), failedSince: message.failedSince ?? now },
      ...(nextAttemptAt ? { nextAttemptAt } : { status: 'FAILED' as const }),
    };
  });
  const isCurrent = await update(deps, endpoint, rows);
  const isGone = failed.some(({ result }) => result.status === gone);
  const { failingSince } = endpoint;
  const hasUsedAllAttempts = rows.some(
    (row) => 'status' in row && failingSince != null && row.failedSince >= failingSince,
  );
  // An endpoint that was changed meanwhile has perhaps another address, or none any more. The failure of one owner's address says
  // nothing about those of other owners.
  if (isCurrent && !isForOwners(endpoint))
    await recordFailure(deps, endpoint, now, isGone || hasUsedAllAttempts);
  return isCurrent;
}

function addAttempt(message: WebhookMessage, { headers: _, ...entry }: SendResult) {
  return { attempts: message.attempts + 1, log: [...message.log, entry].slice(-maxLog) };
}

/** Updates messages in one statement. An absent column stays as it is. */
async function update(
  { database }: QueueDeps,
  { id, orgId, leaseId, updatedAt }: WebhookEndpoint,
  rows: readonly (DeliveryColumns & { id: string })[],
): Promise<boolean> {
  const [stored] = await database.forOrganisation(orgId).execute<{ isCurrent: boolean }[]>(
    `with stored as (update webhook_message as message set
        status = coalesce(input.status, message.status), attempts = input.attempts, log = input.log,
        failed_since = coalesce(input."failedSince", message.failed_since),
        next_attempt_at = coalesce(input."nextAttemptAt", message.next_attempt_at)
      from json_to_recordset(?) as input
        (id uuid, status text, attempts int, log jsonb, "failedSince" timestamptz, "nextAttemptAt" timestamptz)
      where message.id = input.id)
    select exists (select from webhook_endpoint
      where id = ? and disabled_at is null and lease_id = ? and updated_at = ?) as "isCurrent"`,
    [JSON.stringify(rows), id, leaseId, updatedAt],
  );
  return stored?.isCurrent ?? false;
}

async function recordSuccess({ database }: QueueDeps, endpoint: WebhookEndpoint, now: Date): Promise<void> {
  const { id, orgId, failingSince, lastSuccessAt } = endpoint;
  const isRecent = lastSuccessAt && now.getTime() - lastSuccessAt.getTime() < successEveryMs;
  if (isRecent && !failingSince) return;
  const columns = { failingSince: null, lastSuccessAt: now };
  await database.forOrganisation(orgId).nativeUpdate(WebhookEndpoint, { id, orgId }, columns);
  Object.assign(endpoint, columns);
}

async function recordFailure(
  deps: QueueDeps,
  endpoint: WebhookEndpoint,
  now: Date,
  isLast: boolean,
): Promise<void> {
  const { id, orgId } = endpoint;
  if (!endpoint.failingSince) {
    endpoint.failingSince = now;
    await deps.database
      .forOrganisation(orgId)
      .nativeUpdate(WebhookEndpoint, { id, orgId }, { failingSince: now });
  }
  const failingMs = now.getTime() - endpoint.failingSince.getTime();
  if (isLast || failingMs >= maxFailingMs) await disable(deps, endpoint, now);
}

async function disable(deps: QueueDeps, endpoint: WebhookEndpoint, now: Date): Promise<void> {
  const { id, orgId } = endpoint;
  endpoint.disabledAt = now;
  const event: RecordedEvent = {
    ...{ orgId, action: 'DISABLE_WEBHOOK_ENDPOINT', targetName: id, outcome: 'OK', fields: ['disabledAt'] },
    ...serverActor,
  };
  await storeWithEvents(deps, orgId, {
    row: { entity: WebhookEndpoint, id },
    prepare: async (em) => {
      const current = await findEndpointToChange(em, deps.vault, { id, orgId });
      if (current.disabledAt) return { events: [], result: undefined };
      const macs = await deps.vault.rowMacs(em);
      const signed = macs.signed(em, WebhookEndpoint, { ...current, disabledAt: now });
      const update = updateRow(em, WebhookEndpoint, signed, ['disabledAt', 'mac']);
      return { events: [event], updates: [update], readMac: current.mac, result: undefined };
    },
  });
}
