const day = 24 * 60 * 60 * 1000;

/** How far Okta's clock may be from ours before its times are moved: `Date` is cut to the second, and a while on its way. */
const clockDifference = 5_000;

type Headers = Readonly<Record<string, string>>;

/**
 * When Okta lets us in again after a 429: `X-Rate-Limit-Reset` (epoch seconds), else `Retry-After`.
 *
 * @returns undefined if nothing is said, or only times that have passed or are more than a day away
 */
export function readRateLimitReset(headers: Headers, now: Date): Date | undefined {
  const resets = (headers['x-rate-limit-reset'] ?? '').split(',').map((text) => text.trim());
  const times = resets.filter((text) => /^\d{1,12}$/.test(text)).map((seconds) => Number(seconds) * 1000);
  return latest(times, headers, now) ?? readRetryAfter(headers, now);
}

/**
 * When a server wants to be asked again: `Retry-After` (RFC 9110, section 10.2.3), in seconds or as a date.
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

/** The latest of these times of the server's clock that can be believed, by our clock. A proxy may have doubled a header. */
function latest(times: readonly number[], headers: Headers, now: Date): Date | undefined {
  const there = serverTime(headers, now);
  const believed = times.filter((time) => time > there && time <= there + day);
  return believed.length > 0 ? new Date(Math.max(...believed) + now.getTime() - there) : undefined;
}

/** What time it is by the server's clock; by ours if they differ by no more than what `Date` cannot tell. */
function serverTime(headers: Headers, now: Date): number {
  const [date = now.getTime()] = datesIn(headers.date ?? '');
  return Math.abs(date - now.getTime()) <= clockDifference ? now.getTime() : date;
}

/** The dates in a header, which have commas of their own. */
function datesIn(text: string): number[] {
  const dates = text.match(/[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT/g) ?? [];
  return dates.map((date) => Date.parse(date)).filter((time) => !Number.isNaN(time));
}
