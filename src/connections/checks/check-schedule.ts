import { getCheckEvery } from '../check-interval.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
/** The shortest wait between two checks of a host that does not answer, in milliseconds. */
export const minOutageMs = 2 * minuteMs;
/** The longest wait between two checks of a host that does not answer, in milliseconds. */
export const maxOutageMs = hourMs;
/**
 * The latest time of the next check, as a multiple of the wait for it. A later time comes from a server with a wrong clock. It is more than
 * the tenth that `after` adds, because the clocks of servers differ by seconds.
 */
export const maxWaitFactor = 1.2;
/** How long a connection is left alone after its app has limited the rate of requests, in milliseconds. */
const rateLimitedMs = 5 * minuteMs;

/** Returns when a connection that works is checked again. */
export function nextRegularCheck(connection: { checkEvery?: number | null | undefined }, now: Date): Date {
  return after(now, getCheckEvery(connection) * hourMs);
}

/**
 * Returns when a host that does not answer is checked again: after 2 minutes at first, and then after as long as it has not
 * answered until now, up to an hour.
 */
export function nextCheckOfHost(since: Date, now: Date): Date {
  const outageMs = now.getTime() - since.getTime();
  return after(now, Math.min(Math.max(minOutageMs, outageMs), maxOutageMs));
}

/** Returns when a connection is checked again whose app limits the rate of requests. */
export function nextCheckAfterLimit(retryAt: Date | undefined, now: Date): Date {
  return after(now, Math.max(rateLimitedMs, (retryAt?.getTime() ?? 0) - now.getTime()));
}

/** Adds a duration, and up to a tenth of it at random, so that connections that were due together are not due together again. */
function after(now: Date, ms: number): Date {
  return new Date(now.getTime() + Math.round(ms * (1 + Math.random() / 10)));
}
