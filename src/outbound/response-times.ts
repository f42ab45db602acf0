const day = 24 * 60 * 60 * 1000;

/** The clock difference that is not corrected: `Date` has whole seconds, and its transfer takes time. */
const clockDifference = 5_000;

type Headers = Readonly<Record<string, string>>;

/**
 * Reads `Retry-After` (RFC 9110, section 10.2.3), in seconds or as a date.
 *
 * @returns undefined without a time in the next 24 hours
 */
export function readRetryAfter(headers: Headers, now: Date): Date | undefined {
  const after = headers['retry-after'] ?? '';
  const delays = after.split(',').map((text) => text.trim());
  const seconds = delays.filter((text) => /^\d{1,12}$/.test(text)).map(Number);
  const times = seconds.map((delay) => serverTime(headers, now) + delay * 1000);
  return latestTime([...times, ...datesIn(after)], headers, now);
}

/** Reads the time of the server's clock from `Date`, in whole seconds as milliseconds since the epoch. */
export function readDate(headers: Headers): number | undefined {
  return datesIn(headers.date ?? '')[0];
}

/**
 * Returns the latest of some times of the server's clock in the next 24 hours, converted to the local clock. A proxy may have
 * duplicated a header.
 */
export function latestTime(times: readonly number[], headers: Headers, now: Date): Date | undefined {
  const there = serverTime(headers, now);
  const believed = times.filter((time) => time > there && time <= there + day);
  return believed.length > 0 ? new Date(Math.max(...believed) + now.getTime() - there) : undefined;
}

/** Returns the time of the server's clock, or of the local one if they differ by no more than the tolerance. */
function serverTime(headers: Headers, now: Date): number {
  const date = readDate(headers) ?? now.getTime();
  return Math.abs(date - now.getTime()) <= clockDifference ? now.getTime() : date;
}

/** Returns the dates in a header. A date contains a comma itself. */
function datesIn(text: string): number[] {
  const dates = text.match(/[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT/g) ?? [];
  return dates.map((date) => Date.parse(date)).filter((time) => !Number.isNaN(time));
}
