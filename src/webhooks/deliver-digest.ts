import { currentTime, currentTimeMs } from '../common/clock.ts';
import { readRetryAfter } from '../outbound/response-times.ts';
import { maxPending, type QueueDeps } from './enqueue.ts';
import { countMail } from './mail-limit.ts';
import { deleteMessages, dropAcceptedKeys, postpone, postponeRest } from './owners.ts';
import { maxRetries } from './retry.ts';
import { openWebhookSecrets } from './secrets.ts';
import { type Senders, type SendResult, sendDigest } from './send.ts';
import { type Attempted, isDelivered, storeDelivered, storeFailure } from './store-attempt.ts';
import { hasUnsubscribed, toUnsubscribePath } from './unsubscribe.ts';
import { isForOwners, WebhookEndpoint } from './webhook-endpoint.entity.ts';
import type { WebhookMessage } from './webhook-message.entity.ts';

/** The dependencies of delivery. */
export type DeliveryDeps = QueueDeps & Senders;

/** How long an endpoint waits if too many other requests are under way, in milliseconds. */
export const busyMs = 1_000;
/** How long all owners of an organisation wait if the mail server does not answer, in milliseconds: they share the mail server. */
const unreachableMs = 60_000;

/** The result of sending messages. */
export interface BatchResult {
  hasFailed: boolean;
  /** The receiver accepts nothing before. */
  pausedUntil: Date | undefined;
}

const nothingSent: BatchResult = { hasFailed: false, pausedUntil: undefined };

/** Sends messages to people in one digest. Messages to owners all have the same recipient. */
export async function deliverDigest(
  deps: DeliveryDeps,
  endpoint: WebhookEndpoint,
  due: readonly WebhookMessage[],
  signal: AbortSignal,
): Promise<BatchResult> {
  const { orgId } = endpoint;
  const url = await openUrl(deps, endpoint);
  const recipient = due[0]?.recipient;
  if (recipient && !deps.isRecipientAllowed(recipient)) {
    await deleteMessages(deps, orgId, due);
    return nothingSent;
  }
  const messages = isForOwners(endpoint) ? await dropAcceptedKeys(deps, orgId, due) : due;
  if (messages.length === 0) return nothingSent;
  const address = endpoint.format === 'EMAIL' ? (recipient ?? new URL(url).pathname) : undefined;
  let unsubscribeUrl = '';
  if (address !== undefined) {
    if (await hasUnsubscribed(deps, orgId, address)) {
      if (recipient) await deleteMessages(deps, orgId, messages);
      else await storeFailure(deps, endpoint, toAttempts(messages, notSubscribed()));
      return recipient ? nothingSent : { hasFailed: true, pausedUntil: undefined };
    }
    const waitUntil = await countMail(deps, orgId, address);
    if (waitUntil) {
      await postpone(deps, endpoint, recipient ?? null, waitUntil);
      return nothingSent;
    }
    unsubscribeUrl = deps.getPublicUrl() + (await toUnsubscribePath(deps, orgId, address));
  }
  const result = await sendDigest(deps, endpoint, messages, { url, unsubscribeUrl, signal });
  if (!result) return { hasFailed: true, pausedUntil: new Date(currentTimeMs() + busyMs) };
  const attempted = toAttempts(messages, result);
  const hasFailed = !isDelivered(result);
  await (hasFailed ? storeFailure : storeDelivered)(deps, endpoint, attempted);
  if (recipient && due.length >= maxPending) await postponeRest(deps, endpoint, recipient);
  const isUnreachable = isForOwners(endpoint) && result.status === null;
  const pauseEnd = isUnreachable
    ? new Date(currentTimeMs() + unreachableMs)
    : readRetryAfter(result.headers, currentTime());
  return { hasFailed, pausedUntil: hasFailed ? pauseEnd : undefined };
}

function toAttempts(messages: readonly WebhookMessage[], result: SendResult): Attempted[] {
  // One delay for all of them: later events must not use up the attempts of earlier ones, nor earlier ones those of later events.
  const attempts = Math.min(Math.max(...messages.map((message) => message.attempts)), maxRetries - 1);
  return messages.map((message) => ({ message: { ...message, attempts }, result }));
}

function notSubscribed(): SendResult {
  const error = 'the owner of the address has unsubscribed';
  return { at: currentTime().toISOString(), durationMs: 0, status: null, error, headers: {} };
}

/** Returns where a digest is sent. Digests to owners need no secret of the endpoint, so a damaged data key does not delay them. */
async function openUrl({ vault, database }: DeliveryDeps, endpoint: WebhookEndpoint): Promise<string> {
  const em = database.forOrganisation(endpoint.orgId);
  if (!isForOwners(endpoint)) {
    const { url } = await openWebhookSecrets(vault, em, endpoint);
    return url?.reveal() ?? endpoint.url;
  }
  (await vault.rowMacs(em)).verify(em, WebhookEndpoint, endpoint);
  return endpoint.url;
}
