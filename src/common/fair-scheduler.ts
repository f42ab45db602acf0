/** Time per event loop iteration in which work may start, in milliseconds. A read takes about five iterations. */
const defaultSliceMs = 0.5;

/** The window in which the use of a tenant is summed up, in milliseconds. */
const windowMs = 100;

/**
 * Shares the event loop fairly among tenants. Work waits for a turn before it starts. Each iteration of the event loop grants
 * turns until the time slice is used up; the rest wait for the next iteration, after new I/O events. The tenant with the
 * least recent use goes first, so a busy tenant adds little more than one slice to each step of another tenant's
 * request, independent of its number of requests in flight.
 *
 * A turn is not held during I/O: a request that waits for the database or a host does not block others.
 */
export class FairScheduler {
  readonly #sliceMs: number;
  /** Waiting work by tenant, the tenant with the oldest last turn first. No list is empty. */
  readonly #waiting = new Map<string, (() => void)[]>();
  /** Milliseconds of the event loop that each tenant has used in this window. */
  readonly #used = new Map<string, number>();
  #windowEnd = 0;
  /** When this iteration granted its first turn. */
  #iterationStart: number | undefined;
  #isGranting = false;

  constructor(sliceMs = defaultSliceMs) {
    this.#sliceMs = sliceMs;
  }

  /** Waits until work of the tenant may start. Work with several parts waits before each part. */
  waitForTurn(tenantId: string): Promise<void> {
    const turn = Promise.withResolvers<void>();
    const queue = this.#waiting.get(tenantId);
    if (queue) queue.push(turn.resolve);
    else this.#waiting.set(tenantId, [turn.resolve]);
    if (!this.#isGranting) this.#grantNext();
    return turn.promise;
  }

  #grantNext(): void {
    const now = performance.now();
    const isSliceUsedUp = this.#iterationStart !== undefined && now - this.#iterationStart >= this.#sliceMs;
    this.#isGranting = this.#waiting.size > 0 && !isSliceUsedUp;
    if (!this.#isGranting) return;
    if (this.#iterationStart === undefined) {
      this.#iterationStart = now;
      setImmediate(() => {
        this.#iterationStart = undefined;
        this.#grantNext();
      });
    }
    const tenantId = this.#nextTenant(now);
    this.#takeFirst(tenantId)?.();
    // Runs after the microtasks of the work, i.e. when the work waits for an event.
    const grantNextTurn = () => {
      this.#used.set(tenantId, (this.#used.get(tenantId) ?? 0) + performance.now() - now);
      this.#grantNext();
    };
    queueMicrotask(() => process.nextTick(grantNextTurn));
  }

  #nextTenant(now: number): string {
    if (now >= this.#windowEnd) {
      this.#used.clear();
      this.#windowEnd = now + windowMs;
    }
    let next = '';
    let least = Number.POSITIVE_INFINITY;
    for (const tenantId of this.#waiting.keys()) {
      const used = this.#used.get(tenantId) ?? 0;
      if (used < least) [next, least] = [tenantId, used];
    }
    return next;
  }

  #takeFirst(tenantId: string): (() => void) | undefined {
    const queue = this.#waiting.get(tenantId) ?? [];
    const first = queue.shift();
    this.#waiting.delete(tenantId);
    if (queue.length > 0) this.#waiting.set(tenantId, queue);
    return first;
  }
}
