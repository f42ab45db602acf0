import { setTimeout as sleep } from 'node:timers/promises';

/** Gives turns in the order in which they are asked for, some time apart at the least. */
export interface Pace {
  /** Waits for the next turn. Throws an `AbortError` if the signal aborts before. */
  wait(signal: AbortSignal): Promise<void>;
  /** Sets how many turns there are per second from now on. */
  setRate(turnsPerSecond: number): void;
}

/** Creates a pace. */
export function createPace(turnsPerSecond: number): Pace {
  let intervalMs = 1_000 / turnsPerSecond;
  let next = 0;
  return {
    async wait(signal) {
      const now = performance.now();
      const turn = Math.max(now, next);
      next = turn + intervalMs;
      if (turn > now) await sleep(turn - now, undefined, { signal });
    },
    setRate(rate) {
      intervalMs = 1_000 / rate;
    },
  };
}
