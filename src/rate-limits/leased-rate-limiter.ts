import { LRUCache } from 'lru-cache';
import { currentTimeMs } from '../common/clock.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';
import type { Database } from '../database/database.ts';
import type { Rate } from './defaults.ts';
import { type CountedPoints, MemoryWindows } from './memory-windows.ts';

/** The timeout of a query. */
const queryTimeoutMs = 1_000;
/** The pause after a failed query, so that waiting requests do not occupy every connection. */
const outagePauseMs = 5_000;
const maxLeases = 10_000;

/** Adds points to a window, or starts the next one, by the clock of the database. */
const countSql = `
  insert into rate_limit as current (key, points, expire)
  select $1, $2::int, now_ms + $3::bigint
  from (select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms) clock
  on conflict (key) do update set
    points = case when current.expire <= excluded.expire - $3::bigint then 0 else current.points end + excluded.points,
    expire = case when current.expire <= excluded.expire - $3::bigint then excluded.expire else current.expire end
  returning points as "consumedPoints",
    (expire - floor(extract(epoch from clock_timestamp()) * 1000))::float8 as "msBeforeNext"`;

type SharedConnection = NonNullable<Database['systemConnection']>;

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
  readonly #shared: SharedConnection | undefined;
  readonly #leases = new LRUCache<string, Lease>({ max: maxLeases });

  constructor(rate: RateLimit, { database, log, outage }: RateLimiterDeps) {
    this.#rate = rate;
    this.#log = log;
    this.#outage = outage;
    this.#memoryWindows = new MemoryWindows(rate.windowSeconds * 1_000);
    this.#shared = database.systemConnection;
  }

  /** Takes a point that this server has leased. Returns whether there was one. */
  takeLeased(key: string): boolean {
    const lease = this.#getLease(key);
    if (lease.until <= currentTimeMs()) {
      lease.remaining = 0;
      lease.isExhausted = false;
    }
    if (lease.remaining === 0) return false;
    lease.remaining -= 1;
    if (lease.remaining <= this.#rate.leaseSize / 4 && lease.remaining > 0) void this.#refill(key, lease);
    return true;
  }

  /**
   * Takes a point, and leases more if it has to.
   *
   * @returns undefined, or the time of the next point if there is none
   */
  async consume(key: string): Promise<Date | undefined> {
    const lease = this.#getLease(key);
    while (!this.takeLeased(key)) {
      if (lease.isExhausted) return new Date(lease.until);
      await this.#refill(key, lease);
    }
    return undefined;
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
    const until = currentTimeMs() + msBeforeNext;
    // Points of another window are not valid in this one. The ends of two windows are at least a window apart, whereas
    // readings of one end differ only by latency and clock skew, so half a window separates the two cases.
    if (until - lease.until > windowSeconds * 500) lease.remaining = 0;
    lease.remaining += granted;
    lease.until = until;
    lease.isExhausted = granted < requested;
  }

  async #count(key: string, points: number): Promise<CountedPoints> {
    if (!this.#shared || this.#outage.until > currentTimeMs())
      return this.#memoryWindows.penalty(key, points);
    try {
      return await this.#countInDatabase(this.#shared, key, points);
    } catch (error) {
      this.#outage.until = currentTimeMs() + outagePauseMs;
      this.#log.warn(
        { error: safeErrorFields(error) },
        'could not query rate limits; this server counts on its own for 5 seconds',
      );
      return this.#memoryWindows.penalty(key, points);
    }
  }
  async #countInDatabase(shared: SharedConnection, key: string, points: number): Promise<CountedPoints> {
    const { name, windowSeconds } = this.#rate;
    const timeout = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => timeout.reject(new Error('the query of a rate limit timed out')),
      queryTimeoutMs,
    );
    try {
      const query = shared.query({
        text: countSql,
        values: [`${name}:${key}`, points, windowSeconds * 1_000],
      });
      const { rows } = await Promise.race([query, timeout.promise]);
      return rows[0] as CountedPoints;
    } finally {
      clearTimeout(timer);
    }
  }
}
