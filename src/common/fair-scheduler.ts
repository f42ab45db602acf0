/**
 * How long work may be started in one pass of the event loop, in milliseconds. A read takes some five passes, from the
 * first byte of its request to its answer; that of the loop itself takes a fiftieth of this.
 */
const usualSliceMs = 0.5;

/** For how long it is remembered what a tenant has used, in milliseconds. */
const windowMs = 100;

/**
 * Shares the event loop among tenants. Work waits for a turn before it begins. In one pass of the loop, turns are granted
 * until a slice of time is used up; those who still wait have theirs in the next pass, after the events that have arrived
 * meanwhile. The tenant that has used the least time lately goes first, so that a tenant with much to do adds little more
 * than a slice to each step of another's request, however many requests it has in flight.
 *
 * A turn is not held: a request that waits for the database or for a host keeps nobody from theirs.
 */
export class FairScheduler {
  readonly #sliceMs: number;
  /** Those who wait, by tenant, the tenant whose last turn was longest ago first. No list is empty. */
  readonly #waiting = new Map<string, (() => void)[]>();
  /** How long each tenant has used the loop in this window, in milliseconds. */
  readonly #used = new Map<string, number>();
  #windowEnd = 0;
  /** When the first turn of this pass was granted. */
  #passStart: number | undefined;
  #isGranting = false;

  constructor(sliceMs = usualSliceMs) {
    this.#sliceMs = sliceMs;
  }

  /** Waits until work of the tenant may begin. Work that has parts waits before each of them. */
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
    const isPassUsedUp = this.#passStart !== undefined && now - this.#passStart >= this.#sliceMs;
    this.#isGranting = this.#waiting.size > 0 && !isPassUsedUp;
    if (!this.#isGranting) return;
    if (this.#passStart === undefined) {
      this.#passStart = now;
      setImmediate(() => {
        this.#passStart = undefined;
        this.#grantNext();
      });
    }
    const tenantId = this.#nextTenant(now);
    this.#takeFirst(tenantId)?.();
    // This is called after all that the work can do without waiting for an event.
    const goOn = () => {
      this.#used.set(tenantId, (this.#used.get(tenantId) ?? 0) + performance.now() - now);
      this.#grantNext();
    };
    queueMicrotask(() => process.nextTick(goOn));
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
