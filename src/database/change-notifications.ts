import { setTimeout as sleep } from 'node:timers/promises';
import type { MikroORM } from '@mikro-orm/postgresql';
import { type Logger, safeErrorFields } from '../common/log.ts';

/** The channel on which servers tell each other which organisation has changed. */
export const changesChannel = 'app_connections_changed';

const reconnectMs = 1_000;
const heartbeatMs = 15_000;

/** Waits for what is published of one organisation. */
export interface ChangeSubscription {
  /** Waits no longer than this, in milliseconds, and says whether there was anything. */
  next(withinMs: number): Promise<boolean>;
  stop(): void;
}

/** Tells listeners that something of an organisation has changed; what it was, they look up themselves. */
export class OrganisationChangeNotifier {
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #watchers = new Set<(orgId: string | undefined) => void>();
  #isClosed = false;
  #letGo = () => {};

  publish(orgId: string): void {
    for (const watcher of this.#watchers) watcher(orgId);
    for (const wake of this.#listeners.get(orgId) ?? []) wake();
  }

  /** For when changes may have been missed. */
  publishAll(): void {
    if (!this.#isClosed) for (const watcher of this.#watchers) watcher(undefined);
    for (const orgId of this.#listeners.keys()) this.publish(orgId);
  }

  /**
   * Calls a watcher with each organisation of which something changes, or with undefined when changes may have been missed.
   *
   * @returns what ends it
   */
  watch(watcher: (orgId: string | undefined) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** What to let go of when this is closed; the last one given counts. */
  onClose(letGo: () => void): void {
    this.#letGo = letGo;
    if (this.#isClosed) letGo();
  }

  /** Ends every wait, and lets nobody wait any more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#letGo();
    this.publishAll();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Starts to listen. Nothing that is published between two calls of `next` is missed. */
  listen(orgId: string): ChangeSubscription {
    let isDue = false;
    let resolve: (() => void) | undefined;
    const wake = () => {
      isDue = true;
      resolve?.();
    };
    const listeners = this.#listeners.get(orgId) ?? new Set();
    this.#listeners.set(orgId, listeners.add(wake));
    return {
      next: async (withinMs) => {
        if (!isDue && !this.#isClosed) {
          const timer = Promise.withResolvers<void>();
          resolve = timer.resolve;
          const timeout = setTimeout(timer.resolve, withinMs);
          await timer.promise;
          clearTimeout(timeout);
        }
        const wasDue = isDue;
        isDue = false;
        return wasDue;
      },
      stop: () => {
        listeners.delete(wake);
        if (listeners.size === 0) this.#listeners.delete(orgId);
        wake();
      },
    };
  }
}

/** Listens on a connection of its own, and whenever that is lost, on another one. */
export async function startListening(
  orm: MikroORM,
  changes: OrganisationChangeNotifier,
  log: Logger,
): Promise<void> {
  const { lost } = await listenOnce(orm, changes);
  void lost.then(() => reconnect(orm, changes, log));
}

/** Fulfilled once it listens; `lost` is fulfilled once it does not any more. */
async function listenOnce(
  orm: MikroORM,
  changes: OrganisationChangeNotifier,
): Promise<{ lost: Promise<void> }> {
  const pool = await orm.em.getConnection().getNativeClient();
  const client = await pool.connect();
  const lost = Promise.withResolvers<void>();
  client.once('end', lost.resolve);
  const letGo = onceOnly(() => client.release(true));
  void lost.promise.then(letGo);
  client.on('notification', ({ payload }: { payload?: string }) => payload && changes.publish(payload));
  await client.query(`listen ${changesChannel}`).catch((error: unknown) => {
    letGo();
    throw error;
  });
  changes.onClose(letGo);
  // Over a network that went without a word nothing would be heard, and nothing would say so.
  const asking = setInterval(() => client.query('select 1').catch(lost.resolve), heartbeatMs).unref();
  void lost.promise.then(() => clearInterval(asking));
  // Whatever changed while nobody listened.
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
      log.warn({ error: safeErrorFields(error) }, 'changes on other servers are not heard of; trying again');
    }
  }
}

function onceOnly(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}
