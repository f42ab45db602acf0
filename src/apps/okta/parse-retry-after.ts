const day = 24 * 60 * 60 * 1000;

/** The clock difference that is not corrected: `Date` has whole seconds, and its transfer takes time. */
const clockDifference = 5_000;

type Headers = Readonly<Record<string, string>>;

/**
 * Reads the end of Okta's rate limit after a 429: `X-Rate-Limit-Reset` (epoch seconds), else `Retry-After`.
 *
 * @returns undefined without a time in the next 24 hours
 */
export function readRateLimitReset(headers: Headers, now: Date): Date | undefined {
  const resets = (headers['x-rate-limit-reset'] ?? '').split(',').map((text) => text.trim());
  const times = resets.filter((text) => /^\d{1,12}$/.test(text)).map((seconds) => Number(seconds) * 1000);
  return latest(times, headers, now) ?? readRetryAfter(headers, now);
}

/**
 * Reads `Retry-After` (RFC 9110, section 10.2.3), in seconds or as a date.
 *
 * @returns as `readRateLimitReset`
 */
export function readRetryAfter(headers: Headers, now: Date): Date | undefined {
  const after = headers['retry-after'] ?? '';
  const delays = after.split(',').map((text) => text.trim());
  const seconds = delays.filter((text) => /^\d{1,12}$/.test(text)).map(Number);
  const times = seconds.map((delay) => serverTime(headers, now) + delay * 1000);
  return latest([...times, ...datesIn(after)], headers, now);
}

/** Returns the latest plausible time, converted to the local clock. A proxy may have duplicated a header. */
function latest(times: readonly number[], headers: Headers, now: Date): Date | undefined {
  const there = serverTime(headers, now);
  const believed = times.filter((time) => time > there && time <= there + day);
  return believed.length > 0 ? new Date(Math.max(...believed) + now.getTime() - there) : undefined;
}

/** Returns the time of the server's clock, or of the local one if they differ by no more than the tolerance. */
function serverTime(headers: Headers, now: Date): number {
  const [date = now.getTime()] = datesIn(headers.date ?? '');
  return Math.abs(date - now.getTime()) <= clockDifference ? now.getTime() : date;
}

/** Returns the dates in a header. A date contains a comma itself. */
function datesIn(text: string): number[] {
  const dates = text.match(/[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT/g) ?? [];
  return dates.map((date) => Date.parse(date)).filter((time) => !Number.isNaN(time));
}
