import type { IncomingHttpHeaders } from 'node:http';

/** Reads `Prefer: wait=10` (RFC 7240), in seconds. A wait that is longer than `max` is `max`; without one, it is 0. */
export function readPreferredWait({ prefer }: IncomingHttpHeaders, max: number): number {
  if (prefer === undefined) return 0;
  const [, seconds] =
    /(?:^|,)\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=$|[,;])/i.exec([prefer].flat().join(',')) ?? [];
  return Math.min(Number(seconds ?? 0), max);
}
