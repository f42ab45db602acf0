import type { AppRateLimits } from '../../apps/use.ts';
import type { LimitObservation } from './budget-state.ts';

/** The status with which an app refuses a request because of its rate limit (RFC 6585). */
const tooManyRequests = 429;
/** Added to every end of a window: the app's clock has whole seconds. */
const roundingMs = 1_000;
/** The block after a refusal that does not say until when, such as one for too many requests at a time. */
const defaultBlockMs = 1_000;
/** A window or a block that is longer is not believed. */
const maxWindowMs = 3_600_000;

/** The longest that a request is on its way to the app, as a rule. */
const transitMs = 1_000;

/** The part of a response that concerns rate limits. */
export interface ObservedResponse {
  status: number;
  /** Names in lower case. */
  headers: Readonly<Record<string, string | readonly string[]>>;
}

/** What a response says about rate limits. */
export interface Observation {
  limit: LimitObservation | undefined;
  /** If the app has refused the request: until when it refuses others, in milliseconds since the epoch. */
  blockedUntil: number | undefined;
}

/**
 * Reads what a response says about rate limits. Times of the app are converted by its own `Date`.
 *
 * @param times when the request was sent and when its response arrived: `Date` is of a time between them
 */
export function readObservation(
  { status, headers }: ObservedResponse,
  rateLimits: AppRateLimits,
  times: { sentAt: number; now: number },
): Observation {
  const { now } = times;
  const flat = joinValues(headers);
  const limit = readLimit(flat, rateLimits, times);
  if (status !== tooManyRequests) return { limit, blockedUntil: undefined };
  const ends = [limit?.windowEnd, readRetryAfter(flat, now)].filter((end) => end !== undefined);
  return { limit, blockedUntil: ends.length > 0 ? Math.max(...ends) : now + defaultBlockMs };
}

/** Returns the later one of two observations. Of the same window, that is the one with fewer requests left. */
export function latest(one: LimitObservation | undefined, other: LimitObservation): LimitObservation {
  if (!one || other.reset > one.reset) return other;
  if (other.reset < one.reset) return one;
  return {
    ...(other.remaining < one.remaining ? other : one),
    windowEnd: Math.min(one.windowEnd, other.windowEnd),
    closingAt: Math.max(one.closingAt, other.closingAt),
  };
}

/** Joins the values of repeated headers. A loop, because this runs for every response. */
function joinValues(headers: ObservedResponse['headers']): Record<string, string> {
  const joined: Record<string, string> = {};
  for (const name of Object.keys(headers)) {
    const value = headers[name] ?? '';
    joined[name] = typeof value === 'string' ? value : value.join(', ');
  }
  return joined;
}

function readLimit(
  headers: Readonly<Record<string, string>>,
  rateLimits: AppRateLimits,
  { sentAt, now }: { sentAt: number; now: number },
): LimitObservation | undefined {
  const stated = rateLimits.read(headers);
  // A limit on requests at a time is stated as 0, and says nothing about the window.
  if (!stated || stated.limit === 0) return undefined;
  const reset = stated.resetAt.getTime();
  const untilReset = reset - readDate(headers, now);
  const windowEnd = now + untilReset + roundingMs;
  if (windowEnd <= now || windowEnd > now + maxWindowMs) return undefined;
  const closingAt = sentAt + untilReset - roundingMs - transitMs;
  return { limit: stated.limit, remaining: stated.remaining, reset, windowEnd, closingAt };
}

/** Reads `Retry-After` (RFC 9110): seconds or a date. */
function readRetryAfter(headers: Readonly<Record<string, string>>, now: number): number | undefined {
  const text = headers['retry-after'] ?? '';
  const [seconds] = /^\d{1,9}(?=$|,)/.exec(text) ?? [];
  const date = Date.parse(firstDate(text) ?? '');
  const delayMs =
    seconds === undefined ? date - readDate(headers, now) + roundingMs : Number(seconds) * 1_000;
  return delayMs > 0 && delayMs <= maxWindowMs ? now + delayMs : undefined;
}

/** The time of the app's clock; this server's if the response has no `Date`. */
function readDate(headers: Readonly<Record<string, string>>, now: number): number {
  const time = Date.parse(firstDate(headers.date ?? '') ?? '');
  return Number.isNaN(time) ? now : time;
}

/** Proxies may double a header, and a date has a comma itself. */
function firstDate(text: string): string | undefined {
  return /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT/.exec(text)?.[0];
}
