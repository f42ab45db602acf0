import { LRUCache } from 'lru-cache';

/** How many windows are kept. Callers choose their number: each address of a stranger has one. */
const maxWindows = 10_000;

/** What was counted in a window. */
interface Window {
  points: number;
  /** When it ends, in milliseconds since 1970. */
  until: number;
}

/**
 * Counts points in windows in the memory of this server. Of more than 10,000, those that were not used for longest go: who
 * comes from so many addresses has a window for each of them anyway. rate-limiter-flexible's own has no bound, and a timer
 * for each window.
 */
export class MemoryWindows {
  readonly #windowMs: number;
  readonly #windows = new LRUCache<string, Window>({ max: maxWindows });

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** Adds points to the window of a key, which begins with the first. */
  penalty(key: string, points: number): { consumedPoints: number; msBeforeNext: number } {
    const now = Date.now();
    const known = this.#windows.get(key);
    const window = known && known.until > now ? known : { points: 0, until: now + this.#windowMs };
    window.points += points;
    this.#windows.set(key, window);
    return { consumedPoints: window.points, msBeforeNext: window.until - now };
  }
}
