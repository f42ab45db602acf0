import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for the next turn. Throws an `AbortError` if the signal aborts before. */
export type Pace = (signal: AbortSignal) => Promise<void>;

/** Creates a pace, whose turns are given in the order in which they were asked for, a fixed time apart at the least. */
export function createPace(turnsPerSecond: number): Pace {
  let next = 0;
  return async (signal) => {
    const now = performance.now();
    const turn = Math.max(now, next);
    next = turn + 1_000 / turnsPerSecond;
    if (turn > now) await sleep(turn - now, undefined, { signal });
  };
}
