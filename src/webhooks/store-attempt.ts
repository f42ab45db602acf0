import { storeWithEvents } from '../audit/audited-change.ts';
import { type RecordedEvent, serverActor } from '../audit/hash-chain.ts';
import { currentTime } from '../common/clock.ts';
import { updateRow } from '../database/row-statements.ts';
import { findEndpointToChange } from './endpoints.ts';
import type { QueueDeps } from './enqueue.ts';
import { maxFailingMs, nextAttempt } from './retry.ts';
import type { SendResult } from './send.ts';
import { WebhookEndpoint } from './webhook-endpoint.entity.ts';
import { WebhookMessage } from './webhook-message.entity.ts';

/** The entries of a log. A message has eleven attempts, and as many again if it is sent again. */
const maxLog = 20;
/** When a receiver that works is recorded again, in milliseconds. */
const successEveryMs = 60_000;
const gone = 410;

/** What is known after an attempt is stored. */
export interface StoredAttempt {
  isDelivered: boolean;
  /** Whether this server still delivers to the endpoint, and nobody has changed it since it was read. */
  isCurrent: boolean;
}

/**
 * Stores the result of an attempt with its message and its endpoint. An endpoint that has done nothing but fail for three days
 * is disabled.
 *
 * @param endpoint its `failingSince` and `disabledAt` are updated
 */
export async function storeAttempt(
  deps: QueueDeps,
  endpoint: WebhookEndpoint,
  message: WebhookMessage,
  { headers, ...entry }: SendResult,
): Promise<StoredAttempt> {
  const now = currentTime();
  const log = [...message.log, entry].slice(-maxLog);
  const attempts = message.attempts + 1;
  if (entry.status !== null && entry.status >= 200 && entry.status < 300) {
    const isCurrent = await update(deps, endpoint, message, { status: 'DELIVERED', attempts, log });
    await recordSuccess(deps, endpoint, now);
    return { isDelivered: true, isCurrent };
  }
  const nextAttemptAt = nextAttempt(message, headers, now);
  const isCurrent = await update(deps, endpoint, message, {
    ...{ attempts, log, failedSince: message.failedSince ?? now },
    ...(nextAttemptAt ? { nextAttemptAt } : { status: 'FAILED' }),
  });
  // An endpoint that was changed meanwhile has perhaps another address, or none any more.
  if (isCurrent) await recordFailure(deps, endpoint, now, entry.status === gone);
  return { isDelivered: false, isCurrent };
}

/** @returns whether the endpoint is as it was read, with the same lease */
async function update(
  { database }: QueueDeps,
  { leaseId, updatedAt }: WebhookEndpoint,
  message: WebhookMessage,
  columns: Partial<WebhookMessage>,
): Promise<boolean> {
  const em = database.forOrganisation(message.orgId);
  const names = Object.keys(columns) as (keyof WebhookMessage & string)[];
  const { sql, params } = updateRow(em, WebhookMessage, { ...message, ...columns }, names);
  const [stored] = await em.execute<{ isCurrent: boolean }[]>(
    `${sql} returning exists (select from webhook_endpoint as endpoint
      where endpoint.id = endpoint_id and disabled_at is null and lease_id = ? and updated_at = ?) as "isCurrent"`,
    [...params, leaseId, updatedAt],
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
  isGone: boolean,
): Promise<void> {
  const { id, orgId } = endpoint;
  if (!endpoint.failingSince) {
    endpoint.failingSince = now;
    await deps.database
      .forOrganisation(orgId)
      .nativeUpdate(WebhookEndpoint, { id, orgId }, { failingSince: now });
  }
  const failingMs = now.getTime() - endpoint.failingSince.getTime();
  if (isGone || failingMs >= maxFailingMs) await disable(deps, endpoint, now);
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
