import { type Subscription, subscribe } from '../../test/testkit/sse-client.ts';

const query = 'subscription { appConnectionChanged { connectionId eventId } }';

/** A subscription to all changes, which counts them. */
export class Watcher {
  /** The errors and the ends of the subscription. */
  readonly failures: string[] = [];
  readonly #events = new Set<string>();
  readonly #changes = new Map<string, number>();
  readonly #subscription: Subscription;
  #isLeaving = false;

  private constructor(subscription: Subscription) {
    this.#subscription = subscription;
    void this.#read();
  }

  /** Subscribes. */
  static async open(url: string, apiKey: string): Promise<Watcher> {
    return new Watcher(await subscribe(`${url}/graphql`, apiKey, query));
  }

  /**
   * Returns how many changes of connections have not arrived.
   *
   * @param changes the number of changes by the id of their connection
   */
  countMissed(changes: ReadonlyMap<string, number>): number {
    return [...changes].reduce(
      (sum, [id, count]) => sum + Math.max(0, count - (this.#changes.get(id) ?? 0)),
      0,
    );
  }

  async close(): Promise<void> {
    this.#isLeaving = true;
    await this.#subscription[Symbol.asyncDispose]();
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const { data, errors } = await this.#subscription.next();
        if (errors) this.failures.push(JSON.stringify(errors));
        const { connectionId, eventId } = Object(data?.appConnectionChanged);
        if (this.#events.has(eventId)) continue;
        this.#events.add(eventId);
        this.#changes.set(connectionId, (this.#changes.get(connectionId) ?? 0) + 1);
      }
    } catch (error) {
      if (!this.#isLeaving) this.failures.push(`${error}`);
    }
  }
}
