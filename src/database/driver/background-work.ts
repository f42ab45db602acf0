import { AsyncLocalStorage } from 'node:async_hooks';

/** The kinds of background work. */
export type BackgroundWork = 'jobs' | 'webhooks' | 'audit-stream';

const kinds = new AsyncLocalStorage<BackgroundWork>();

/**
 * Runs background work. All work of a kind has one share of the database connections together: with a share for each organisation,
 * the checks of fifty organisations would leave a fiftieth of the connections to a request.
 */
export function inBackground<T>(kind: BackgroundWork, task: () => T): T {
  return kinds.run(kind, task);
}

/** Returns the kind of the background work that runs now; undefined in a request. */
export function currentBackgroundWork(): BackgroundWork | undefined {
  return kinds.getStore();
}
