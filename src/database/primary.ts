import { type Logger, safeErrorFields } from '../common/log.ts';
import type { ClientClass, ServerOptions } from './driver/pg.ts';
import { type ConnectionDirector, createClientClass, type DirectedClient } from './driver/primary-client.ts';
import {
  connectionTimeoutMs,
  findServer,
  isStillAt,
  type PostgresqlServer,
  prepareConnection,
} from './find-server.ts';
import type { PostgresqlLocation } from './location.ts';

/**
 * The server of a URL that accepts changes. A failover, a switch-over or a change of the address makes it another one:
 *
 * - Each new connection looks up the name anew, and is closed unless its server accepts changes.
 * - When a server refuses a change, all connections that are open are closed, each as soon as it is idle.
 * - When a new connection leads to another server, those to the former one are closed.
 * - When a server is silent for a second, a new connection shows whether there is another one by now.
 */
export class Primary implements ConnectionDirector {
  /** The server at the start. */
  readonly server: PostgresqlServer;
  /** The class of connections to the server of the moment. The options of a connection have no effect on its address. */
  readonly Client: ClientClass;
  readonly #find: () => Promise<PostgresqlServer>;
  readonly #log: Logger;
  readonly #clients = new Set<DirectedClient>();
  /** The last server that was found; undefined if a connection to it could not be opened. */
  #found: PostgresqlServer | undefined;
  #search: Promise<PostgresqlServer> | undefined;
  #databaseId: string;

  private constructor(server: PostgresqlServer, find: () => Promise<PostgresqlServer>, log: Logger) {
    this.server = server;
    this.Client = createClientClass(this);
    this.#find = find;
    this.#found = server;
    this.#databaseId = server.databaseId;
    this.#log = log;
  }

  /**
   * Looks for the server of a location.
   *
   * @param setting the environment variable of the URL
   * @throws StartupError, or the driver's error, for the first host if there is none
   */
  static async find(location: PostgresqlLocation, log: Logger, setting = 'DATABASE_URL'): Promise<Primary> {
    const find = () => findServer(location, setting);
    return new Primary(await find(), find, log);
  }

  async locate(): Promise<ServerOptions> {
    const found = this.#found;
    if (found && (await isStillAt(found))) return found.options;
    return (await this.#searchOnce()).options;
  }

  add(client: DirectedClient): void {
    this.#clients.add(client);
  }

  remove(client: DirectedClient): void {
    this.#clients.delete(client);
  }

  async prepare(client: DirectedClient): Promise<string> {
    const databaseId = await prepareConnection(client, this.server, connectionTimeoutMs);
    if (databaseId !== this.#databaseId) {
      this.#databaseId = databaseId;
      this.#log.info('connected to another server of the database, or to the same one after its restart');
      for (const other of this.#clients)
        if (other.databaseId !== undefined && other.databaseId !== databaseId) other.retire();
    }
    return databaseId;
  }

  forget(options: ServerOptions): void {
    if (this.#found?.options === options) this.#found = undefined;
  }

  leave(): void {
    this.#log.warn(
      'the database accepts no changes; the server closes its connections and looks for the primary',
    );
    this.#found = undefined;
    for (const client of this.#clients) client.retire();
  }

  suspect(client: DirectedClient): void {
    this.#searchOnce().then(
      ({ databaseId }) => {
        if (databaseId !== client.databaseId) client.abandon();
      },
      (error: unknown) =>
        this.#log.debug({ error: safeErrorFields(error) }, 'no primary of the database was found'),
    );
  }

  #searchOnce(): Promise<PostgresqlServer> {
    this.#search ??= this.#find()
      .then((server) => {
        this.#found = server;
        return server;
      })
      .finally(() => {
        this.#search = undefined;
      });
    return this.#search;
  }
}
