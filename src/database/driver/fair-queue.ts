/** A wait for a connection that was not granted. */
interface Waiter {
  grant(): void;
}

/** The tenant's part of a fair queue. */
interface Tenant {
  running: number;
  waiting: Waiter[];
}

/** Bounds of a fair queue. */
export interface FairQueueOptions {
  /** How much may run at a time in all. */
  capacity: number;
  /** How much of that one tenant may run at a time. */
  share: number;
  /** How long somebody waits for a turn, in milliseconds. */
  timeoutMs: number;
}

/**
 * Shares a scarce resource among tenants: one tenant never holds more than its share, and those who wait take turns by
 * tenant, however many wait of each.
 */
export class FairQueue {
  readonly #options: FairQueueOptions;
  /** In the order in which tenants take turns. There is an entry for each tenant that runs or waits for something. */
  readonly #tenants = new Map<string, Tenant>();
  #running = 0;

  constructor(options: FairQueueOptions) {
    this.#options = options;
  }

  /**
   * Waits for a turn.
   *
   * @returns ends the turn; to be called once
   * @throws QueueTimeout
   */
  async acquire(tenantId: string): Promise<() => void> {
    const tenant = this.#tenants.get(tenantId) ?? { running: 0, waiting: [] };
    this.#tenants.set(tenantId, tenant);
    if (this.#running < this.#options.capacity && tenant.running < this.#options.share) this.#start(tenant);
    else await this.#wait(tenant).finally(() => this.#forgetIfIdle(tenantId, tenant));
    return () => {
      tenant.running -= 1;
      this.#running -= 1;
      this.#forgetIfIdle(tenantId, tenant);
      this.#grantNext();
    };
  }

  #forgetIfIdle(tenantId: string, { running, waiting }: Tenant): void {
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

  /** Gives the turn that has become free to the tenant that had one longest ago. */
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

/** Worded as the driver's own, when no connection of its pool becomes free in time. */
export class QueueTimeout extends Error {
  constructor() {
    super('timeout exceeded when trying to connect');
  }
}
