import { LRUCache } from 'lru-cache';
import { currentTimeMs } from '../common/clock.ts';

/** The maximum number of windows. Without one, clients could fill the memory: each client address has a window. */
const maxWindows = 10_000;

/** The points of a window, those that were just added included. */
export interface CountedPoints {
  consumedPoints: number;
  /** The time until the window ends, in milliseconds. */
  msBeforeNext: number;
}

/** The points of a key in the current window. */
interface Window {
  points: number;
  /** The end of the window, in milliseconds since the epoch. */
  until: number;
}

/**
 * Counts points in memory. Beyond 10,000 windows, the least recently used ones are evicted. That does not help an attacker,
 * who has a window for each address anyway.
 */
export class MemoryWindows {
  readonly #windowMs: number;
  readonly #windows = new LRUCache<string, Window>({ max: maxWindows });

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** Adds points to the window of a key. A window starts with its first point. */
  penalty(key: string, points: number): CountedPoints {
    const now = currentTimeMs();
    const current = this.#windows.get(key);
    const window = current && current.until > now ? current : { points: 0, until: now + this.#windowMs };
    window.points += points;
    this.#windows.set(key, window);
    return { consumedPoints: window.points, msBeforeNext: window.until - now };
  }
}
