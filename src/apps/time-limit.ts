/** Tells how much of a time limit is left, in milliseconds: at least 100, so that a request can fail by itself. */
export type TimeLimit = () => number;

/** Starts a time limit for several requests in turn. Tenths of a second are precise enough for messages with it. */
export function startTimeLimit(limitMs: number): TimeLimit {
  const end = performance.now() + limitMs;
  return () => Math.max(100, Math.ceil((end - performance.now()) / 100) * 100);
}
