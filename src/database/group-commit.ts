import { isDatabaseUnavailable } from './outage.ts';

/** The most items of a batch, so that transactions stay short. */
const maxBatchSize = 50;

interface PendingItem<Item, Result> {
  item: Item;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/**
 * Processes items of the same key in batches. While a batch of a key runs, further items of the key wait and form the next
 * batch. If a batch fails, its items run one by one, so that an invalid item does not fail others
 * (docs/adr/0003-group-commit.md).
 */
export class GroupCommitter<Item, Result> {
  readonly #process: (key: string, items: readonly Item[]) => Promise<readonly Result[]>;
  /** Waiting items by key. A key has a list, possibly empty, while a batch of it runs. */
  readonly #waiting = new Map<string, PendingItem<Item, Result>[]>();

  /** @param process processes all items or none, and returns the results in the order of the items */
  constructor(process: (key: string, items: readonly Item[]) => Promise<readonly Result[]>) {
    this.#process = process;
  }

  /**
   * Processes an item with the next batch of its key.
   *
   * @throws the errors of `process`
   */
  submit(key: string, item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      const pending = { item, resolve, reject };
      const waiting = this.#waiting.get(key);
      if (waiting) waiting.push(pending);
      else void this.#start(key, pending);
    });
  }

  async #start(key: string, first: PendingItem<Item, Result>): Promise<void> {
    const waiting: PendingItem<Item, Result>[] = [];
    this.#waiting.set(key, waiting);
    for (let batch = [first]; batch.length > 0; batch = waiting.splice(0, maxBatchSize)) {
      await this.#processBatch(key, batch);
    }
    this.#waiting.delete(key);
  }

  async #processBatch(key: string, batch: readonly PendingItem<Item, Result>[]): Promise<void> {
    try {
      const results = await this.#process(
        key,
        batch.map(({ item }) => item),
      );
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Result);
    } catch (error) {
      // An unavailable database would fail again, and the batch may have been committed.
      if (batch.length === 1 || isDatabaseUnavailable(error)) for (const { reject } of batch) reject(error);
      else for (const pending of batch) await this.#processBatch(key, [pending]);
    }
  }
}
