import { LRUCache } from 'lru-cache';
import { RateLimiterPostgres, type RateLimiterRes, RLWrapperTimeouts } from 'rate-limiter-flexible';
import { type Logger, safeErrorFields } from '../common/log.ts';
import type { Database } from '../database/database.ts';
import type { Rate } from './defaults.ts';
import { MemoryWindows } from './memory-windows.ts';

/** The timeout of a query. */
const queryTimeoutMs = 1_000;
/** The pause after a failed query, so that waiting requests do not occupy every connection. */
const outagePauseMs = 5_000;
const maxLeases = 10_000;

/** The points of a window that this server has leased. */
interface Lease {
  remaining: number;
  /** The end of the window, in milliseconds since the epoch. */
  until: number;
  /** Whether the window has no more points to lease. */
  isExhausted: boolean;
  /** The pending query for more points. */
  refill: Promise<void> | undefined;
}

/** The dependencies of a rate limiter. */
export interface RateLimiterDeps {
  database: Pick<Database, 'systemConnection'>;
  log: Logger;
  /** The end of the pause after a failed query, in milliseconds since the epoch. All limiters of a server share it. */
  outage: { until: number };
}

/** The configuration of a rate limiter. */
export interface RateLimit extends Rate {
  /** The prefix of its keys in the database. */
  name: string;
  windowSeconds: number;
}

/**
 * A rate limiter with windows that all servers share. A server leases points in advance, and renews a lease in the background
 * when a quarter of it is left, so that few requests wait for the database. Together, servers never exceed the limit.
 *
 * While PostgreSQL is unavailable, each server counts on its own.
 */
export class LeasedRateLimiter {
  readonly #rate: RateLimit;
  readonly #log: Logger;
  readonly #outage: RateLimiterDeps['outage'];
  readonly #memoryWindows: MemoryWindows;
  readonly #shared: RLWrapperTimeouts | undefined;
  readonly #leases = new LRUCache<string, Lease>({ max: maxLeases });

  constructor(rate: RateLimit, { database, log, outage }: RateLimiterDeps) {
    const options = { keyPrefix: rate.name, points: rate.points, duration: rate.windowSeconds };
    this.#rate = rate;
    this.#log = log;
    this.#outage = outage;
    this.#memoryWindows = new MemoryWindows(rate.windowSeconds * 1_000);
    this.#shared =
      database.systemConnection &&
      new RLWrapperTimeouts({
        limiter: new RateLimiterPostgres({
          ...options,
          storeClient: database.systemConnection,
          storeType: 'client',
          tableName: 'rate_limit',
          tableCreated: true,
          clearExpiredByTimeout: false,
        }),
        timeoutMs: queryTimeoutMs,
      });
  }

  /**
   * Takes a point.
   *
   * @returns undefined, or the time of the next point if there is none
   */
  async consume(key: string): Promise<Date | undefined> {
    const lease = this.#getLease(key);
    for (;;) {
      if (lease.until <= Date.now()) {
        lease.remaining = 0;
        lease.isExhausted = false;
      }
      if (lease.remaining > 0) {
        lease.remaining -= 1;
        if (lease.remaining <= this.#rate.leaseSize / 4 && lease.remaining > 0) void this.#refill(key, lease);
        return undefined;
      }
      if (lease.isExhausted) return new Date(lease.until);
      await this.#refill(key, lease);
    }
  }

  #getLease(key: string): Lease {
    const current = this.#leases.get(key);
    if (current) return current;
    const lease: Lease = { remaining: 0, until: 0, isExhausted: false, refill: undefined };
    this.#leases.set(key, lease);
    return lease;
  }

  /** Fills up a lease, unless the window is exhausted. Concurrent calls share one query. */
  async #refill(key: string, lease: Lease): Promise<void> {
    if (lease.isExhausted) return;
    lease.refill ??= this.#lease(key, lease).finally(() => {
      lease.refill = undefined;
    });
    return lease.refill;
  }

  async #lease(key: string, lease: Lease): Promise<void> {
    const { points, leaseSize, windowSeconds } = this.#rate;
    const requested = leaseSize - lease.remaining;
    const { consumedPoints, msBeforeNext } = await this.#count(key, requested);
    const granted = Math.min(Math.max(points - (consumedPoints - requested), 0), requested);
    const until = Date.now() + msBeforeNext;
    // Points of another window are not valid in this one. The ends of two windows are at least a window apart, whereas
    // readings of one end differ only by latency and clock skew, so half a window separates the two cases.
    if (until - lease.until > windowSeconds * 500) lease.remaining = 0;
    lease.remaining += granted;
    lease.until = until;
    lease.isExhausted = granted < requested;
  }

  async #count(
    key: string,
    points: number,
  ): Promise<Pick<RateLimiterRes, 'consumedPoints' | 'msBeforeNext'>> {
    if (!this.#shared || this.#outage.until > Date.now()) return this.#memoryWindows.penalty(key, points);
    try {
      return await this.#shared.penalty(key, points);
    } catch (error) {
      this.#outage.until = Date.now() + outagePauseMs;
      this.#log.warn(
        { error: safeErrorFields(error) },
        'could not query rate limits; this server counts on its own for 5 seconds',
      );
      return this.#memoryWindows.penalty(key, points);
    }
  }
}
