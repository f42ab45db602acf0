import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { App } from '../../apps/app.ts';
import type { ConnectionUse } from '../../apps/use.ts';
import { AppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { Database } from '../../database/database.ts';
import { BucketBudget, type BudgetContext } from './bucket-budget.ts';
import { findBucket } from './find-bucket.ts';
import { WaitingRoom } from './waiting-room.ts';

/** The budgets that a server keeps in memory. One that is dropped is read from the database again. */
const maxBudgets = 10_000;

/** The rate budgets of the connections that a server uses. All servers of a database share them. */
export class RateBudgets {
  readonly #context: BudgetContext;
  readonly #budgets = new LRUCache<string, BucketBudget>({ max: maxBudgets });
  readonly #changes = new LRUCache<string, { count: number }>({ max: maxBudgets });

  constructor({ database, log }: { database: Database; log: Logger }) {
    this.#context = { database, log, serverId: randomUUID(), room: new WaitingRoom() };
    // A refusal that another server has got is announced as a change of the organisation.
    database.changes.watch((orgId) => {
      const changes = orgId === undefined ? this.#changes.values() : [this.#changes.get(orgId)];
      for (const each of changes) if (each) each.count += 1;
    });
  }

  /** The number of requests of this server that wait. */
  get waitingRequests(): number {
    return this.#context.room.size;
  }

  /**
   * Finds the budget in which a request through a connection counts.
   *
   * @param path normalised
   * @returns undefined if the app does not limit it
   */
  find(
    app: App,
    { rateLimits }: ConnectionUse,
    { orgId, id }: { orgId: string; id: string },
    path: string,
  ): BucketBudget | undefined {
    if (!rateLimits || rateLimits.unlimited?.some((start) => path.startsWith(start))) return undefined;
    const bucket = findBucket(rateLimits.buckets, path);
    const changes = this.#getChanges(orgId);
    const key = `${orgId} ${id} ${bucket}`;
    const known = this.#budgets.get(key);
    if (known) return known;
    const budget = new BucketBudget(
      this.#context,
      { orgId, connectionId: id, bucket },
      { app, rateLimits },
      changes,
    );
    this.#budgets.set(key, budget);
    return budget;
  }

  #getChanges(orgId: string): { count: number } {
    const known = this.#changes.get(orgId);
    if (known) return known;
    const changes = { count: 0 };
    this.#changes.set(orgId, changes);
    return changes;
  }

  /** Refuses all requests that wait, because the server stops. */
  close(): void {
    const error = new AppError('SERVICE_UNAVAILABLE', 'The server is about to stop. Nothing was sent.', {
      remedy: 'Send the request again.',
    });
    for (const budget of this.#budgets.values()) budget.close(error);
  }
}
