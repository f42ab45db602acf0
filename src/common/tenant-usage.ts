import { LRUCache } from 'lru-cache';

/** The share of the event loop that a busy tenant may use while a quiet one is active. */
const busyShare = 0.2;

/** The use beyond its share with which a tenant is busy, in milliseconds. */
const burstMs = 100;

/** The most excess that counts, in milliseconds, so that a tenant which had the server to itself is delayed for a second at most. */
const maxExcessMs = burstMs + 1_000 * busyShare;

/** A tenant is active until this time has passed since its last work, in milliseconds. */
const activeMs = 1_000;

/** The part of the duration of a scan that counts as use: PostgreSQL may share its processors with the server. */
const scanWeight = 0.5;

/** The most tenants whose use is known. The ones that have used the server least recently are forgotten. */
const maxTenants = 10_000;

/** The tasks of a tenant that wait for the database while it may start more, a few pages. */
const maxDatabaseWaits = 8;

/** The time after which a tenant is looked at again whose tasks wait for the database, in milliseconds. */
const databaseDelayMs = 1;

/** The use of a tenant beyond its share. */
interface Excess {
  /** In milliseconds, at the time `at`. */
  ms: number;
  at: number;
}

/** The last work of a tenant that is not busy. */
interface QuietWork {
  tenantId: string;
  at: number;
}

/**
 * Measures how much of the server each tenant uses, and delays busy tenants while a quiet one is active: each of them is
 * limited to a fifth of the event loop, because running work cannot be interrupted, and the less of it there is, the less of
 * it a quiet tenant waits for. While only busy tenants are active, none is delayed.
 */
export class TenantUsage {
  readonly #excess = new LRUCache<string, Excess>({ max: maxTenants });
  /** The last quiet work, and the last one of another tenant. */
  #quietWork: QuietWork[] = [];
  /** The number of tasks that wait for a connection to the database, by tenant. None is 0. */
  readonly #databaseWaits = new Map<string, number>();

  /** Adds time that a tenant has used the event loop, in milliseconds. */
  addLoopTime(tenantId: string, ms: number): void {
    const now = performance.now();
    const excessMs = Math.min(this.#excessOf(tenantId, now) + ms, maxExcessMs);
    this.#excess.set(tenantId, { ms: excessMs, at: now });
    if (excessMs > burstMs) return;
    const [last] = this.#quietWork;
    if (last?.tenantId === tenantId) last.at = now;
    else this.#quietWork = [{ tenantId, at: now }, ...(last ? [last] : [])];
  }

  /**
   * Adds the duration of a scan, in milliseconds. Other statements do not count: they are short, and while the server is busy,
   * they mostly wait.
   */
  addScanTime(tenantId: string, ms: number): void {
    this.addLoopTime(tenantId, ms * scanWeight);
  }

  /** The time after which a tenant may start more work, in milliseconds: 0 unless it is busy while a quiet one is active. */
  delayOf(tenantId: string): number {
    const now = performance.now();
    const excessMs = this.#excessOf(tenantId, now) - burstMs;
    const isDelayed = excessMs > 0 && this.#isQuietTenantActive(tenantId, now);
    return isDelayed ? excessMs / busyShare : 0;
  }

  /** Like `delayOf`, for work that loads data: no more of it starts while enough of the tenant waits for the database. */
  delayOfNewWork(tenantId: string): number {
    const waits = this.#databaseWaits.get(tenantId) ?? 0;
    return Math.max(waits < maxDatabaseWaits ? 0 : databaseDelayMs, this.delayOf(tenantId));
  }

  /** Counts a task of a tenant that waits for the database. */
  async countDatabaseWait<Result>(tenantId: string, wait: () => Promise<Result>): Promise<Result> {
    this.#databaseWaits.set(tenantId, (this.#databaseWaits.get(tenantId) ?? 0) + 1);
    try {
      return await wait();
    } finally {
      const waits = (this.#databaseWaits.get(tenantId) ?? 0) - 1;
      if (waits > 0) this.#databaseWaits.set(tenantId, waits);
      else this.#databaseWaits.delete(tenantId);
    }
  }

  #isQuietTenantActive(tenantId: string, now: number): boolean {
    return this.#quietWork.some((work) => work.tenantId !== tenantId && now - work.at < activeMs);
  }

  #excessOf(tenantId: string, now: number): number {
    const excess = this.#excess.get(tenantId);
    return excess ? Math.max(0, excess.ms - (now - excess.at) * busyShare) : 0;
  }
}
