import DataLoader from 'dataloader';
import { isDatabaseUnavailable } from './outage.ts';

/** The most that is done together: a transaction is not to grow without end. */
const mostTogether = 50;

interface PendingItem<Item, Result> {
  item: Item;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/**
 * Does what would have to wait for each other anyway together. While something is done under a key, what else is to be
 * done under it waits; all that has come together by then is done in one go. Where that fails, each is done by itself, so
 * that nobody suffers for what is wrong with another one.
 */
export class GroupCommitter<Item, Result> {
  readonly #work: (key: string, items: readonly Item[]) => Promise<readonly Result[]>;
  /** What waits, by key. There is a list, if only an empty one, as long as something is done. */
  readonly #waiting = new Map<string, PendingItem<Item, Result>[]>();

  /** @param work does all or nothing, and gives the results in the order of the items */
  constructor(work: (key: string, items: readonly Item[]) => Promise<readonly Result[]>) {
    this.#work = work;
  }

  /** @throws whatever the work throws */
  submit(key: string, item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      const one = { item, resolve, reject };
      const waiting = this.#waiting.get(key);
      if (waiting) waiting.push(one);
      else void this.#start(key, one);
    });
  }

  async #start(key: string, first: PendingItem<Item, Result>): Promise<void> {
    const waiting: PendingItem<Item, Result>[] = [];
    this.#waiting.set(key, waiting);
    for (let group = [first]; group.length > 0; group = waiting.splice(0, mostTogether)) {
      await this.#doAll(key, group);
    }
    this.#waiting.delete(key);
  }

  async #doAll(key: string, group: readonly PendingItem<Item, Result>[]): Promise<void> {
    try {
      const results = await this.#work(
        key,
        group.map(({ item }) => item),
      );
      for (const [index, { resolve }] of group.entries()) resolve(results[index] as Result);
    } catch (error) {
      // Whoever's database does not answer need not ask it again; it may even have done what it was asked.
      if (group.length === 1 || isDatabaseUnavailable(error)) for (const { reject } of group) reject(error);
      else for (const one of group) await this.#doAll(key, [one]);
    }
  }
}

/**
 * Looks up what is asked for at the same moment, by whichever requests, in one go, once the events of that moment have
 * been seen. Nothing is kept for the next moment.
 *
 * @param find gives what there is for each of the names, in their order
 */
export function createBatchLoader<Found>(
  find: (names: readonly string[]) => Promise<readonly Found[]>,
): (name: string) => Promise<Found> {
  const loader = new DataLoader(find, {
    cache: false,
    batchScheduleFn: (dispatch) => setImmediate(dispatch),
    maxBatchSize: 100,
  });
  return (name) => loader.load(name);
}
