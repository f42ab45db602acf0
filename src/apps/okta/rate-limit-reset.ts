import { latestTime, readRetryAfter } from '../../outbound/response-times.ts';

/**
 * Reads the end of Okta's rate limit after a 429: `X-Rate-Limit-Reset` (epoch seconds), else `Retry-After`.
 *
 * @returns undefined without a time in the next 24 hours
 */
export function readRateLimitReset(headers: Readonly<Record<string, string>>, now: Date): Date | undefined {
  const resets = (headers['x-rate-limit-reset'] ?? '').split(',').map((text) => text.trim());
  const times = resets.filter((text) => /^\d{1,12}$/.test(text)).map((seconds) => Number(seconds) * 1000);
  return latestTime(times, headers, now) ?? readRetryAfter(headers, now);
}
