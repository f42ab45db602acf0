/** A subscription to the changes of one organisation. */
export interface ChangeSubscription {
  /** Waits for a change. Resolves to false after `timeoutMs`. */
  next(timeoutMs: number): Promise<boolean>;
  stop(): void;
}

/** Notifies subscribers that an organisation has changed. They read the changes from the audit trail. */
export class OrganisationChangeNotifier {
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #watchers = new Set<(orgId: string | undefined) => void>();
  #isClosed = false;

  publish(orgId: string): void {
    for (const watcher of this.#watchers) watcher(orgId);
    for (const wake of this.#listeners.get(orgId) ?? []) wake();
  }

  /** Notifies all subscribers and watchers, because changes may have been missed. */
  publishAll(): void {
    if (!this.#isClosed) for (const watcher of this.#watchers) watcher(undefined);
    for (const orgId of this.#listeners.keys()) this.publish(orgId);
  }

  /**
   * Calls a watcher with the id of each organisation that changes, or with undefined if changes may have been missed.
   *
   * @returns a function that removes the watcher
   */
  watch(watcher: (orgId: string | undefined) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** The organisations with a subscription. */
  get subscribedOrganisations(): string[] {
    return [...this.#listeners.keys()];
  }

  /** Ends all waits. Later waits end at once. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.publishAll();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Subscribes to an organisation. A change between two calls of `next` is not lost. */
  listen(orgId: string): ChangeSubscription {
    let hasChanged = false;
    let resolve: (() => void) | undefined;
    const wake = () => {
      hasChanged = true;
      resolve?.();
    };
    const listeners = this.#listeners.get(orgId) ?? new Set();
    this.#listeners.set(orgId, listeners.add(wake));
    return {
      next: async (timeoutMs) => {
        if (!hasChanged && !this.#isClosed) {
          const wait = Promise.withResolvers<void>();
          resolve = wait.resolve;
          const timeout = setTimeout(wait.resolve, timeoutMs);
          await wait.promise;
          clearTimeout(timeout);
        }
        const didChange = hasChanged;
        hasChanged = false;
        return didChange;
      },
      stop: () => {
        listeners.delete(wake);
        if (listeners.size === 0) this.#listeners.delete(orgId);
        wake();
      },
    };
  }
}
