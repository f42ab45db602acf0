import { readRetryAfter } from '../outbound/response-times.ts';
import type { WebhookMessage } from './webhook-message.entity.ts';

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;

/** The delays before the attempts after the first, in milliseconds: three days in all. */
const delays = [
  ...[5 * second, minute, 5 * minute, 30 * minute, 2 * hour],
  ...[5 * hour, 10 * hour, 14 * hour, 20 * hour, 20 * hour],
];
/** The most attempts after the first. */
export const maxRetries = delays.length;
/** How much a delay differs at random, so that the messages of an outage do not all come back at once. */
const jitter = 0.2;

/** How long a message is tried, and for how long an endpoint may do nothing but fail, in milliseconds. */
export const maxFailingMs = 72 * hour;

/**
 * Returns the time of the next attempt after a failed one, or undefined if the message has failed for good.
 *
 * @param headers those of the response: `Retry-After` postpones the attempt for up to a day
 */
export function nextAttempt(
  { attempts, failedSince }: Pick<WebhookMessage, 'attempts' | 'failedSince'>,
  headers: Readonly<Record<string, string>>,
  now: Date,
): Date | undefined {
  const delay = delays[attempts];
  if (delay === undefined) return undefined;
  const delayed = now.getTime() + delay * (1 - jitter + 2 * jitter * Math.random());
  const time = Math.max(delayed, readRetryAfter(headers, now)?.getTime() ?? 0);
  const end = (failedSince ?? now).getTime() + maxFailingMs * (1 + jitter);
  return time <= end ? new Date(time) : undefined;
}
