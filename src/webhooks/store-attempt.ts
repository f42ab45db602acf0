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
/** How long a message waits that was not sent because too many others are under way, in milliseconds. */
const busyMs = 1_000;
const gone = 410;

/**
 * Stores the result of an attempt with its message and its endpoint. An endpoint that has done nothing but fail for three days
 * is disabled.
 *
 * @param endpoint its `failingSince` and `disabledAt` are updated
 * @returns whether the message was delivered
 */
export async function storeAttempt(
  deps: QueueDeps,
  endpoint: WebhookEndpoint,
  message: WebhookMessage,
  result: SendResult,
): Promise<boolean> {
  const { id, orgId } = message;
  const em = deps.database.forOrganisation(orgId);
  const now = currentTime();
  const update = (columns: Partial<WebhookMessage>) =>
    em.nativeUpdate(WebhookMessage, { id, orgId }, columns);
  if (!result) {
    await update({ nextAttemptAt: new Date(now.getTime() + busyMs) });
    return false;
  }
  const { headers, ...entry } = result;
  const log = [...message.log, entry].slice(-maxLog);
  const attempts = message.attempts + 1;
  if (result.status !== null && result.status >= 200 && result.status < 300) {
    await update({ status: 'DELIVERED', attempts, log });
    await recordSuccess(deps, endpoint, now);
    return true;
  }
  const nextAttemptAt = nextAttempt(message, headers, now);
  const failedSince = message.failedSince ?? now;
  await update({
    ...{ attempts, log, failedSince },
    ...(nextAttemptAt ? { nextAttemptAt } : { status: 'FAILED' }),
  });
  await recordFailure(deps, endpoint, now, result.status === gone);
  return false;
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
