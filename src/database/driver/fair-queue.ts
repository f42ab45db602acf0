/** While a tenant is delayed, the queue checks at least this often whether the delay still applies, in milliseconds. */
const maxDelayMs = 50;

/** A request for a turn that waits. */
interface Waiter {
  grant(): void;
}

/** The state of one tenant. */
interface Tenant {
  running: number;
  waiting: Waiter[];
}

/** The limits of a fair queue. */
export interface FairQueueOptions {
  /** The most turns at a time. */
  capacity: number;
  /** The most turns of one tenant at a time. */
  share: number;
  /** The time for which a tenant that has a turn gets no second one, in milliseconds. */
  delayOf(tenantId: string): number;
  /** The longest wait for a turn, in milliseconds. */
  timeoutMs: number;
}

/**
 * Shares a limited resource among tenants. A tenant never holds more than its share, and waiting requests get turns
 * round-robin by tenant.
 */
export class FairQueue {
  readonly #options: FairQueueOptions;
  /** The tenants that hold or wait for a turn, in round-robin order. */
  readonly #tenants = new Map<string, Tenant>();
  #running = 0;
  #delayTimer: NodeJS.Timeout | undefined;

  constructor(options: FairQueueOptions) {
    this.#options = options;
  }

  /**
   * Waits for a turn.
   *
   * @returns a function that ends the turn; call it once
   * @throws QueueTimeout
   */
  async acquire(tenantId: string): Promise<() => void> {
    const tenant = this.#tenants.get(tenantId) ?? { running: 0, waiting: [] };
    this.#tenants.set(tenantId, tenant);
    if (this.#running < this.#options.capacity && this.#mayStart(tenantId, tenant)) this.#start(tenant);
    else await this.#wait(tenant).finally(() => this.#deleteIfIdle(tenantId, tenant));
    return () => {
      tenant.running -= 1;
      this.#running -= 1;
      this.#deleteIfIdle(tenantId, tenant);
      this.#grantFree();
    };
  }

  #deleteIfIdle(tenantId: string, { running, waiting }: Tenant): void {
    if (running === 0 && waiting.length === 0) this.#tenants.delete(tenantId);
  }

  /** Whether the tenant may have one more turn. If it may have one later, the queue grants turns again then. */
  #mayStart(tenantId: string, { running }: Tenant): boolean {
    if (running >= this.#options.share) return false;
    const delayMs = running > 0 ? this.#options.delayOf(tenantId) : 0;
    if (delayMs === 0) return true;
    this.#delayTimer ??= setTimeout(
      () => {
        this.#delayTimer = undefined;
        this.#grantFree();
      },
      Math.min(delayMs, maxDelayMs),
    );
    return false;
  }

  #start(tenant: Tenant): void {
    tenant.running += 1;
    this.#running += 1;
  }

  async #wait(tenant: Tenant): Promise<void> {
    const turn = Promise.withResolvers<void>();
    const waiter = { grant: turn.resolve };
    tenant.waiting.push(waiter);
    const timer = setTimeout(() => {
      tenant.waiting.splice(tenant.waiting.indexOf(waiter), 1);
      turn.reject(new QueueTimeout());
    }, this.#options.timeoutMs);
    try {
      await turn.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Grants free turns, each to the waiting tenant whose last turn is oldest. */
  #grantFree(): void {
    while (this.#running < this.#options.capacity && this.#grantNext());
  }

  #grantNext(): boolean {
    for (const [tenantId, tenant] of this.#tenants) {
      const [next] = tenant.waiting;
      if (!next || !this.#mayStart(tenantId, tenant)) continue;
      tenant.waiting.shift();
      this.#tenants.delete(tenantId);
      this.#tenants.set(tenantId, tenant);
      this.#start(tenant);
      next.grant();
      return true;
    }
    return false;
  }
}

/** No turn became free in time. Its message is the one of pg-pool for the same situation. */
class QueueTimeout extends Error {
  constructor() {
    super('timeout exceeded when trying to connect');
  }
}
