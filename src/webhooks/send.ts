import { currentTime } from '../common/clock.ts';
import type { Secret } from '../common/secret.ts';
import type { OutboundClient } from '../outbound/outbound.ts';
import { OutboundError } from '../outbound/outbound-error.ts';
import { mediaTypes } from './body.ts';
import { toWebhookId } from './enqueue.ts';
import { signMessage } from './secrets.ts';
import type { WebhookEndpoint } from './webhook-endpoint.entity.ts';
import type { WebhookAttempt, WebhookMessage } from './webhook-message.entity.ts';

/** The result of an attempt: an entry of the log, with the headers of the response. */
export type SendResult = WebhookAttempt & { headers: Readonly<Record<string, string>> };

/**
 * Sends a message once. Redirects are not followed, and the body of the response is not kept.
 *
 * @returns undefined if nothing was sent because too many other requests are under way, or if this server stops
 */
export async function sendMessage(
  outbound: OutboundClient,
  endpoint: WebhookEndpoint,
  message: WebhookMessage,
  { secrets, signal }: { secrets: readonly Secret[]; signal: AbortSignal },
): Promise<SendResult | undefined> {
  const { id, orgId, url, format } = endpoint;
  const now = currentTime();
  const signature = signMessage(secrets, {
    id: toWebhookId(message.id),
    timestamp: Math.floor(now.getTime() / 1_000),
    body: message.body,
  });
  const started = performance.now();
  const describe = () => ({
    at: now.toISOString(),
    durationMs: Math.round(performance.now() - started),
  });
  try {
    const { status, headers } = await outbound
      .onBehalfOf({ orgId, callerId: `${orgId} webhook endpoint ${id}` })
      .post(new URL(url), {
        headers: { ...signature, 'content-type': mediaTypes[format] },
        body: message.body,
        ignoresBody: true,
        signal,
      });
    return { ...describe(), status, error: null, headers };
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    if (error.reason === 'BUSY' || error.reason === 'ABORTED') return undefined;
    return { ...describe(), status: null, error: error.message, headers: {} };
  }
}
