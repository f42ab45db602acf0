import { currentTimeMs } from './clock.ts';
import { AppError } from './errors.ts';
import { currentRequest } from './log.ts';
import { TenantUsage } from './tenant-usage.ts';

/** Time per event loop iteration in which work may start, in milliseconds. A read takes about five iterations. */
const defaultSliceMs = 0.5;

/** The window in which the use of a tenant is summed up, in milliseconds. */
const windowMs = 100;

/** The longest wait for a turn, in milliseconds. */
const maxWaitMs = 10_000;

/** While every waiting tenant is delayed, the scheduler checks at least this often whether the delay still applies. */
const maxDelayMs = 50;

/** Work that waits for a turn. */
interface Waiter {
  since: number;
  /** When its request began. */
  requestStart: number;
  grant(): void;
  reject(error: AppError): void;
}

/** The waiting work of a tenant. */
interface TenantQueue {
  /** Work whose data is loaded; that of the oldest request first. */
  continued: Waiter[];
  new: Waiter[];
}

/**
 * Shares the event loop fairly among tenants. Work waits for a turn before it starts. Each iteration of the event loop grants
 * turns until the time slice is used up; the rest wait for the next iteration, after new I/O events. The tenant with the
 * least recent use goes first, so a busy tenant adds little more than one slice to each step of another tenant's
 * request, independent of its number of requests in flight. A tenant that `TenantUsage` delays gets no turn.
 *
 * Within a tenant, work whose data is loaded goes before new work, the oldest request first, and no new work starts while much of
 * the tenant waits for the database. Otherwise the data of all its requests would be in memory at the same time, and each garbage
 * collection, which delays everybody, would take the longer.
 *
 * A turn is not held during I/O: a request that waits for the database or a host does not block others.
 */
export class FairScheduler {
  readonly #usage: TenantUsage;
  readonly #sliceMs: number;
  /** Waiting work by tenant. No queue is empty. */
  readonly #waiting = new Map<string, TenantQueue>();
  /** Milliseconds of the event loop that each tenant has used in this window. */
  readonly #used = new Map<string, number>();
  #windowEnd = 0;
  /** When this iteration granted its first turn. */
  #iterationStart: number | undefined;
  #isGranting = false;
  #delayTimer: NodeJS.Timeout | undefined;

  constructor(usage = new TenantUsage(), sliceMs = defaultSliceMs) {
    this.#usage = usage;
    this.#sliceMs = sliceMs;
  }

  /**
   * Waits until work of the tenant may start. Work with several parts waits before each part.
   *
   * @throws AppError `RATE_LIMITED` after ten seconds
   */
  waitForTurn(tenantId: string): Promise<void> {
    return this.#wait(tenantId, 'new');
  }

  /**
   * Waits until work of the tenant whose data is loaded may continue.
   *
   * @throws AppError `RATE_LIMITED` after ten seconds
   */
  waitToContinue(tenantId: string): Promise<void> {
    return this.#wait(tenantId, 'continued');
  }

  #wait(tenantId: string, kind: keyof TenantQueue): Promise<void> {
    const turn = Promise.withResolvers<void>();
    const queue = this.#waiting.get(tenantId) ?? { continued: [], new: [] };
    const since = performance.now();
    const requestStart = kind === 'continued' ? (currentRequest.getStore()?.startedAt ?? since) : since;
    const index = queue[kind].findLastIndex((other) => other.requestStart <= requestStart) + 1;
    queue[kind].splice(index, 0, { since, requestStart, grant: turn.resolve, reject: turn.reject });
    this.#waiting.set(tenantId, queue);
    if (!this.#isGranting) this.#grantNext();
    return turn.promise;
  }

  #grantNext(): void {
    const now = performance.now();
    const isSliceUsedUp = this.#iterationStart !== undefined && now - this.#iterationStart >= this.#sliceMs;
    const tenantId = isSliceUsedUp ? undefined : this.#nextTenant(now);
    this.#isGranting = tenantId !== undefined;
    if (tenantId === undefined) return;
    if (this.#iterationStart === undefined) {
      this.#iterationStart = now;
      setImmediate(() => {
        this.#iterationStart = undefined;
        this.#grantNext();
      });
    }
    this.#takeFirst(tenantId)?.grant();
    // Runs after the microtasks of the work, i.e. when the work waits for an event.
    const grantNextTurn = () => {
      const ms = performance.now() - now;
      this.#used.set(tenantId, (this.#used.get(tenantId) ?? 0) + ms);
      // Clients without a credential share an empty id. They are not a tenant.
      if (tenantId) this.#usage.addLoopTime(tenantId, ms);
      this.#grantNext();
    };
    queueMicrotask(() => process.nextTick(grantNextTurn));
  }

  /** Returns undefined if no work waits or may start now. */
  #nextTenant(now: number): string | undefined {
    if (now >= this.#windowEnd) {
      this.#used.clear();
      this.#windowEnd = now + windowMs;
    }
    let next: string | undefined;
    let least = Number.POSITIVE_INFINITY;
    let shortestDelay = maxDelayMs;
    for (const [tenantId, { continued }] of this.#waiting) {
      const used = this.#used.get(tenantId) ?? 0;
      if (used >= least) continue;
      const delay =
        continued.length > 0 ? this.#usage.delayOf(tenantId) : this.#usage.delayOfNewWork(tenantId);
      if (delay > 0) shortestDelay = Math.min(shortestDelay, delay);
      else [next, least] = [tenantId, used];
    }
    if (next === undefined && this.#waiting.size > 0) this.#grantAfter(shortestDelay);
    return next;
  }

  #grantAfter(delayMs: number): void {
    this.#delayTimer ??= setTimeout(() => {
      this.#delayTimer = undefined;
      this.#rejectOverdue();
      if (!this.#isGranting) this.#grantNext();
    }, delayMs);
  }

  #rejectOverdue(): void {
    const now = performance.now();
    for (const [tenantId, queue] of this.#waiting) {
      for (const waiters of [queue.continued, queue.new]) {
        for (const overdue of waiters.filter(({ since }) => now - since >= maxWaitMs)) {
          waiters.splice(waiters.indexOf(overdue), 1);
          overdue.reject(tooBusyError());
        }
      }
      this.#deleteIfEmpty(tenantId, queue);
    }
  }

  #takeFirst(tenantId: string): Waiter | undefined {
    const queue = this.#waiting.get(tenantId);
    const first = queue?.continued.shift() ?? queue?.new.shift();
    if (queue) this.#deleteIfEmpty(tenantId, queue);
    return first;
  }

  #deleteIfEmpty(tenantId: string, queue: TenantQueue): void {
    if (queue.continued.length === 0 && queue.new.length === 0) this.#waiting.delete(tenantId);
  }
}

function tooBusyError(): AppError {
  return new AppError(
    'RATE_LIMITED',
    'This organisation uses more than its share of a server that other organisations use as well.',
    {
      retryAt: new Date(currentTimeMs() + maxWaitMs),
      remedy: 'Send fewer requests at a time, with fewer fields and shorter pages.',
    },
  );
}
