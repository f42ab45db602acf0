import { currentTime } from '../common/clock.ts';
import type { Secret } from '../common/secret.ts';
import type { MailSender } from '../outbound/mail.ts';
import type { OutboundClient } from '../outbound/outbound.ts';
import { OutboundError } from '../outbound/outbound-error.ts';
import { findMediaType } from './body.ts';
import { buildSlackBody, combineLines } from './digest.ts';
import { type QueueDeps, toWebhookId } from './enqueue.ts';
import { addressToOwner } from './owners.ts';
import { signMessage } from './secrets.ts';
import type { WebhookEndpoint } from './webhook-endpoint.entity.ts';
import type { WebhookAttempt, WebhookMessage } from './webhook-message.entity.ts';

/** The result of an attempt: an entry of the log, with the headers of the response. */
export type SendResult = WebhookAttempt & { headers: Readonly<Record<string, string>> };

/** The ways to send. */
export interface Senders {
  /** A client of its own, so that receivers that hang hold up no verification. */
  outbound: OutboundClient;
  /** Absent: no mail server is configured. */
  mail?: MailSender | undefined;
}

/** An HTTP request of an endpoint. */
interface PostedBody {
  url: string;
  headers: Record<string, string>;
  body: string;
}

/**
 * Sends a message once. Redirects are not followed, and the body of the response is not kept.
 *
 * @returns undefined if nothing was sent because too many other requests are under way, or if this server stops
 */
export async function sendMessage(
  { outbound }: Senders,
  endpoint: WebhookEndpoint,
  message: WebhookMessage,
  { secrets, signal }: { secrets: readonly Secret[]; signal: AbortSignal },
): Promise<SendResult | undefined> {
  const { body } = message;
  const timestamp = Math.floor(currentTime().getTime() / 1_000);
  const signature = signMessage(secrets, { id: toWebhookId(message.id), timestamp, body });
  const headers = { ...signature, 'content-type': findMediaType(body) };
  return post(outbound, endpoint, { url: endpoint.url, headers, body }, signal);
}

/**
 * Sends the lines of messages together, once.
 *
 * @param url the whole address, which the endpoint has only sealed if it is a secret
 * @param unsubscribeUrl where the recipient of an e-mail stops e-mails
 * @returns as `sendMessage`
 */
export async function sendDigest(
  { outbound, mail, isRecipientAllowed }: Senders & Pick<QueueDeps, 'isRecipientAllowed'>,
  endpoint: WebhookEndpoint,
  messages: readonly WebhookMessage[],
  { url, unsubscribeUrl, signal }: { url: string; unsubscribeUrl: string; signal: AbortSignal },
): Promise<SendResult | undefined> {
  const events = combineLines(messages.map(({ body }) => body));
  const recipient = messages[0]?.recipient;
  const digest = recipient ? addressToOwner(events) : events;
  if (endpoint.format === 'SLACK') {
    const headers = { 'content-type': 'application/json' };
    return post(outbound, endpoint, { url, headers, body: buildSlackBody(digest) }, signal);
  }
  return attempt(async () => {
    const notSent = { status: null, headers: {} };
    if (!mail) return { ...notSent, error: 'this server has no SMTP_URL' };
    const to = recipient ?? new URL(url).pathname;
    if (!isRecipientAllowed(to))
      return { ...notSent, error: 'EMAIL_RECIPIENT_DOMAINS does not have the domain of the address' };
    const text = `${digest.text}\n\nTo stop all e-mails of this organisation to this address: ${unsubscribeUrl}`;
    return { ...(await mail.send({ to, ...digest, text, unsubscribeUrl })), headers: {} };
  });
}

function post(
  outbound: OutboundClient,
  { id, orgId }: WebhookEndpoint,
  { url, ...request }: PostedBody,
  signal: AbortSignal,
): Promise<SendResult | undefined> {
  return attempt(async () => {
    const { status, headers } = await outbound
      .onBehalfOf({ orgId, callerId: `${orgId} webhook endpoint ${id}` })
      .post(new URL(url), { ...request, ignoresBody: true, signal });
    return { status, error: null, headers };
  });
}

/** Adds the time to the result of an attempt. */
async function attempt(
  send: () => Promise<Pick<SendResult, 'status' | 'error' | 'headers'>>,
): Promise<SendResult | undefined> {
  const at = currentTime().toISOString();
  const started = performance.now();
  const describe = () => ({ at, durationMs: Math.round(performance.now() - started) });
  try {
    const result = await send();
    return { ...describe(), ...result };
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    if (error.reason === 'BUSY' || error.reason === 'ABORTED') return undefined;
    return { ...describe(), status: null, error: error.message, headers: {} };
  }
}
