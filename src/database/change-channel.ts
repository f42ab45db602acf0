import { setTimeout as sleep } from 'node:timers/promises';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { createSerialQueue } from '../common/serial-queue.ts';
import type { OrganisationChangeNotifier } from './change-notifications.ts';
import type { Notification } from './driver/pg.ts';
import type { Primary } from './primary.ts';

/** The `NOTIFY` channel. Its payload is the ids of organisations that have changed, separated by spaces. */
const changesChannel = 'app_connections_changed';

/** A payload has at most 8,000 bytes. */
const organisationsPerPayload = 200;

/** The minimum time between two announcements. */
const announcementIntervalMs = 25;

const reconnectMs = 1_000;
const heartbeatMs = 15_000;
/** The longest wait for a connection and for a response. */
const timeoutMs = 10_000;

/**
 * Announces changes to the other servers of the database, and receives theirs, over a connection of its own.
 *
 * `NOTIFY` in a transaction takes a lock on the whole database until the commit, so that transactions commit one after the
 * other. Changes are therefore announced after their commit, several in one statement. An announcement can be lost when a
 * server dies; `publishMissedChanges` finds its changes.
 */
export class ChangeChannel {
  readonly #primary: Primary;
  readonly #changes: OrganisationChangeNotifier;
  readonly #log: Logger;
  /** The organisations to announce. */
  readonly #pending = new Set<string>();
  #connection: ListeningConnection | undefined;
  #timer: NodeJS.Timeout | undefined;
  #nextAnnouncement = 0;
  #isClosed = false;

  constructor(primary: Primary, changes: OrganisationChangeNotifier, log: Logger) {
    this.#primary = primary;
    this.#changes = changes;
    this.#log = log;
  }

  /** Listens, and opens another connection whenever the connection is lost. */
  async open(): Promise<void> {
    const connection = await listen(this.#primary, this.#changes);
    this.#connection = connection;
    if (this.#isClosed) await connection.close();
    void connection.lost.then(() => {
      this.#connection = undefined;
      void this.#reconnect();
    });
    this.#schedule();
  }

  /** Publishes a committed change on this server now, and on the others within `announcementIntervalMs`. */
  announce(orgId: string): void {
    this.#changes.publish(orgId);
    this.#pending.add(orgId);
    this.#schedule();
  }

  /** Sends the pending announcements, and closes the connection. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#send();
    await this.#connection?.close();
  }

  #schedule(): void {
    if (this.#timer || this.#pending.size === 0) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        void this.#send();
      },
      Math.max(0, this.#nextAnnouncement - performance.now()),
    );
  }

  async #send(): Promise<void> {
    const connection = this.#connection;
    if (!connection || this.#pending.size === 0) return;
    const orgIds = [...this.#pending];
    this.#pending.clear();
    this.#nextAnnouncement = performance.now() + announcementIntervalMs;
    try {
      await connection.notify(orgIds);
    } catch {
      // The connection is lost. The changes are announced over the next one.
      for (const orgId of orgIds) this.#pending.add(orgId);
    }
  }

  async #reconnect(): Promise<void> {
    while (!this.#isClosed) {
      await sleep(reconnectMs, undefined, { ref: false });
      if (this.#isClosed) return;
      try {
        return await this.open();
      } catch (error) {
        this.#log.warn(
          { error: safeErrorFields(error) },
          'cannot listen for changes on other servers; retrying',
        );
      }
    }
  }
}

/** A connection that listens on `changesChannel`. */
interface ListeningConnection {
  notify(orgIds: readonly string[]): Promise<void>;
  close(): Promise<void>;
  /** Resolves when the connection ends. */
  lost: Promise<void>;
}

async function listen(
  { server, Client }: Primary,
  changes: OrganisationChangeNotifier,
): Promise<ListeningConnection> {
  const client = new Client({
    ...server.options,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
  });
  const lost = Promise.withResolvers<void>();
  client.once('end', lost.resolve);
  // `end` follows, and an error without a listener ends the process.
  client.on('error', () => {});
  const close = () => client.end();
  void lost.promise.then(close);
  client.on('notification', ({ payload, processId }: Notification) => {
    if (processId !== client.processID) for (const orgId of payload?.split(' ') ?? []) changes.publish(orgId);
  });
  try {
    await client.connect();
    await client.query(`listen ${changesChannel}`);
  } catch (error) {
    await close();
    throw error;
  }
  const enqueue = createSerialQueue();
  // pg deprecates a query before the one before it has ended.
  const query = (text: string, values?: unknown[]) => enqueue(() => client.query(text, values));
  // A lost network does not end the connection, so the heartbeat detects it.
  const heartbeat = setInterval(() => query('select 1').catch(lost.resolve), heartbeatMs).unref();
  void lost.promise.then(() => clearInterval(heartbeat));
  // Changes may have been missed while no connection listened.
  changes.publishAll();
  return {
    lost: lost.promise,
    close,
    async notify(orgIds) {
      const payloads: string[] = [];
      for (let first = 0; first < orgIds.length; first += organisationsPerPayload)
        payloads.push(orgIds.slice(first, first + organisationsPerPayload).join(' '));
      await query('select pg_notify($1, payload) from unnest($2::text[]) payload', [
        changesChannel,
        payloads,
      ]);
    },
  };
}
