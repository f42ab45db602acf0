import { setTimeout as sleep } from 'node:timers/promises';
import type { MikroORM } from '@mikro-orm/postgresql';
import { type Logger, safeErrorFields } from '../common/log.ts';

/** The `NOTIFY` channel. Its payload is the id of an organisation that has changed. */
export const changesChannel = 'app_connections_changed';

const reconnectMs = 1_000;
const heartbeatMs = 15_000;

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
  #release = () => {};

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

  /** Sets the function that releases the connection on close. It replaces the previous one. */
  onClose(release: () => void): void {
    this.#release = release;
    if (this.#isClosed) release();
  }

  /** Ends all waits. Later waits end at once. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#release();
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

/** Listens on a connection of its own, and opens another one whenever it is lost. */
export async function startListening(
  orm: MikroORM,
  changes: OrganisationChangeNotifier,
  log: Logger,
): Promise<void> {
  const { lost } = await listenOnce(orm, changes);
  void lost.then(() => reconnect(orm, changes, log));
}

/** Resolves when the connection listens; `lost` resolves when it ends. */
async function listenOnce(
  orm: MikroORM,
  changes: OrganisationChangeNotifier,
): Promise<{ lost: Promise<void> }> {
  const pool = await orm.em.getConnection().getNativeClient();
  const client = await pool.connect();
  const lost = Promise.withResolvers<void>();
  client.once('end', lost.resolve);
  const release = onceOnly(() => client.release(true));
  void lost.promise.then(release);
  client.on('notification', ({ payload }: { payload?: string }) => payload && changes.publish(payload));
  await client.query(`listen ${changesChannel}`).catch((error: unknown) => {
    release();
    throw error;
  });
  changes.onClose(release);
  // A lost network does not end the connection, so the heartbeat detects it.
  const heartbeat = setInterval(() => client.query('select 1').catch(lost.resolve), heartbeatMs).unref();
  void lost.promise.then(() => clearInterval(heartbeat));
  // Changes may have been missed while no connection listened.
  changes.publishAll();
  return { lost: lost.promise };
}

async function reconnect(orm: MikroORM, changes: OrganisationChangeNotifier, log: Logger): Promise<void> {
  while (!changes.isClosed) {
    await sleep(reconnectMs, undefined, { ref: false });
    if (changes.isClosed) return;
    try {
      return await startListening(orm, changes, log);
    } catch (error) {
      log.warn({ error: safeErrorFields(error) }, 'cannot listen for changes on other servers; retrying');
    }
  }
}

function onceOnly(task: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) task();
    isDone = true;
  };
}
