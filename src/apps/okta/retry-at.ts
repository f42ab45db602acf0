const day = 24 * 60 * 60 * 1000;

/**
 * When Okta lets us in again: `X-Rate-Limit-Reset` (epoch seconds), else `Retry-After` (seconds or a date).
 * A time that has passed or is more than a day away is not believed, and undefined if nothing else is said.
 */
export function readRetryAt(headers: Readonly<Record<string, string>>, now: Date): Date | undefined {
  const { 'x-rate-limit-reset': reset = '', 'retry-after': after = '' } = headers;
  const candidates = [
    /^\d+$/.test(reset) ? Number(reset) * 1000 : Number.NaN,
    /^\d+$/.test(after) ? now.getTime() + Number(after) * 1000 : Date.parse(after),
  ];
  const believed = candidates.find((time) => time > now.getTime() && time <= now.getTime() + day);
  return believed === undefined ? undefined : new Date(believed);
}
