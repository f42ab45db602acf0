import { AsyncLocalStorage } from 'node:async_hooks';

/** The kinds of background work. */
export type BackgroundWork = 'jobs' | 'webhooks';

const kinds = new AsyncLocalStorage<BackgroundWork>();

/**
 * Runs background work, all of which of a kind has one share of the database connections. With a share for each organisation,
 * checks of fifty organisations would leave a fiftieth of the connections to a request.
 */
export function inBackground<T>(kind: BackgroundWork, task: () => T): T {
  return kinds.run(kind, task);
}

/** Returns the kind of the background work that runs now; undefined in a request. */
export function currentBackgroundWork(): BackgroundWork | undefined {
  return kinds.getStore();
}
