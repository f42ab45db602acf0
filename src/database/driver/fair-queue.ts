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
    if (this.#running < this.#options.capacity && tenant.running < this.#options.share) this.#start(tenant);
    else await this.#wait(tenant).finally(() => this.#deleteIfIdle(tenantId, tenant));
    return () => {
      tenant.running -= 1;
      this.#running -= 1;
      this.#deleteIfIdle(tenantId, tenant);
      this.#grantNext();
    };
  }

  #deleteIfIdle(tenantId: string, { running, waiting }: Tenant): void {
    if (running === 0 && waiting.length === 0) this.#tenants.delete(tenantId);
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

  /** Grants the free turn to the waiting tenant whose last turn is oldest. */
  #grantNext(): void {
    if (this.#running >= this.#options.capacity) return;
    for (const [tenantId, tenant] of this.#tenants) {
      const next = tenant.running < this.#options.share ? tenant.waiting.shift() : undefined;
      if (!next) continue;
      this.#tenants.delete(tenantId);
      this.#tenants.set(tenantId, tenant);
      this.#start(tenant);
      next.grant();
      return;
    }
  }
}

/** No turn became free in time. Its message is the one of pg-pool for the same situation. */
export class QueueTimeout extends Error {
  constructor() {
    super('timeout exceeded when trying to connect');
  }
}
