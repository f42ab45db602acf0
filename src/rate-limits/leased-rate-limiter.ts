import { LRUCache } from 'lru-cache';
import { RateLimiterPostgres, type RateLimiterRes, RLWrapperTimeouts } from 'rate-limiter-flexible';
import { type Logger, safeErrorFields } from '../common/log.ts';
import type { Database } from '../database/database.ts';
import type { Rate } from './defaults.ts';
import { MemoryWindows } from './memory-windows.ts';

/** For how long the shared count is waited for. */
const patienceMs = 1_000;
/** For how long it is left alone when it could not be had, so that those who wait for it do not take every connection. */
const leaveAloneMs = 5_000;
const maxLeases = 10_000;

/** What a server has taken of a window, to hand out by itself. */
interface Lease {
  left: number;
  /** When the window ends, in milliseconds since 1970. */
  until: number;
  /** Whether there is nothing more to be had of the window. */
  isLast: boolean;
  /** While more is being asked for. */
  refill: Promise<void> | undefined;
}

/** What counting takes. */
export interface RateLimiterDeps {
  database: Pick<Database, 'systemConnection'>;
  log: Logger;
  /** Until when the shared counts are left alone, in milliseconds since 1970; the same for all counters of a server. */
  outage: { until: number };
}

/** What is to be counted. */
export interface RateLimit extends Rate {
  /** Tells it from what else is counted. */
  name: string;
  windowSeconds: number;
}

/**
 * Counts how often each does something, in windows that all servers share. A server takes points in blocks, and asks for
 * the next in the background while it hands out the last quarter of one, so that hardly anybody waits for the database.
 * All servers together never hand out more than there is.
 *
 * While PostgreSQL cannot be asked, each server counts for itself.
 */
export class LeasedRateLimiter {
  readonly #rate: RateLimit;
  readonly #log: Logger;
  readonly #outage: RateLimiterDeps['outage'];
  readonly #own: MemoryWindows;
  readonly #shared: RLWrapperTimeouts | undefined;
  readonly #leases = new LRUCache<string, Lease>({ max: maxLeases });

  constructor(rate: RateLimit, { database, log, outage }: RateLimiterDeps) {
    const options = { keyPrefix: rate.name, points: rate.points, duration: rate.windowSeconds };
    this.#rate = rate;
    this.#log = log;
    this.#outage = outage;
    this.#own = new MemoryWindows(rate.windowSeconds * 1_000);
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
        timeoutMs: patienceMs,
      });
  }

  /**
   * Takes a point.
   *
   * @returns when there will be one again, if there is none
   */
  async consume(key: string): Promise<Date | undefined> {
    const lease = this.#leaseOf(key);
    for (;;) {
      if (lease.until <= Date.now()) {
        lease.left = 0;
        lease.isLast = false;
      }
      if (lease.left > 0) {
        lease.left -= 1;
        if (lease.left <= this.#rate.leaseSize / 4 && lease.left > 0) void this.#refill(key, lease);
        return undefined;
      }
      if (lease.isLast) return new Date(lease.until);
      await this.#refill(key, lease);
    }
  }

  #leaseOf(key: string): Lease {
    const known = this.#leases.get(key);
    if (known) return known;
    const lease: Lease = { left: 0, until: 0, isLast: false, refill: undefined };
    this.#leases.set(key, lease);
    return lease;
  }

  /** Asks for as much as makes a block again; once at a time, and not where there is nothing to be had. */
  async #refill(key: string, lease: Lease): Promise<void> {
    if (lease.isLast) return;
    lease.refill ??= this.#ask(key, lease).finally(() => {
      lease.refill = undefined;
    });
    return lease.refill;
  }

  async #ask(key: string, lease: Lease): Promise<void> {
    const { points, leaseSize, windowSeconds } = this.#rate;
    const wanted = leaseSize - lease.left;
    const { consumedPoints, msBeforeNext } = await this.#count(key, wanted);
    const granted = Math.min(Math.max(points - (consumedPoints - wanted), 0), wanted);
    const until = Date.now() + msBeforeNext;
    // What is left of another window has no place in this one. The ends of two windows are a window or more apart; what
    // is told of one end differs by what the answers took, and the clocks of servers.
    if (until - lease.until > windowSeconds * 500) lease.left = 0;
    lease.left += granted;
    lease.until = until;
    lease.isLast = granted < wanted;
  }

  async #count(
    key: string,
    points: number,
  ): Promise<Pick<RateLimiterRes, 'consumedPoints' | 'msBeforeNext'>> {
    if (!this.#shared || this.#outage.until > Date.now()) return this.#own.penalty(key, points);
    try {
      return await this.#shared.penalty(key, points);
    } catch (error) {
      this.#outage.until = Date.now() + leaveAloneMs;
      this.#log.warn({ error: safeErrorFields(error) }, 'rates are counted by this server alone for a while');
      return this.#own.penalty(key, points);
    }
  }
}
