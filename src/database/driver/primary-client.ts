import { type ClientClass, loadPg, type PlainClient, type ServerOptions } from './pg.ts';

/** PostgreSQL's `read_only_sql_transaction`. */
export const readOnlyCode = '25006';

/** The time without a response after which a server is suspected to have been replaced, in milliseconds. */
export const suspicionMs = 1_000;

/** Decides to which server connections lead, and when they end. */
export interface ConnectionDirector {
  /** Returns the server to connect to. */
  locate(): Promise<ServerOptions>;
  /** Adds a connection that is being opened. */
  add(client: DirectedClient): void;
  /**
   * Applies settings to an open connection.
   *
   * @returns the id of its database
   * @throws an error if the server accepts no changes
   */
  prepare(client: DirectedClient): Promise<string>;
  /** A connection to a server could not be opened. */
  forget(options: ServerOptions): void;
  /** The server of a connection refused a change, because it is read-only. */
  leave(): void;
  /** The server of a connection has been silent for `suspicionMs`. */
  suspect(client: DirectedClient): void;
  remove(client: DirectedClient): void;
}

/** A connection whose server a director chooses. */
export interface DirectedClient extends PlainClient {
  /** The id of the database; undefined until the connection is open. */
  readonly databaseId: string | undefined;
  /** Ends the connection when it executes no statement and is in no transaction. */
  retire(): void;
  /** Ends the connection now. */
  abandon(): void;
}

/** Returns a class of connections that a director chooses the server of. */
export function createClientClass(director: ConnectionDirector): ClientClass {
  return class extends loadPg().Client implements DirectedClient {
    databaseId: string | undefined;
    #isRetired = false;

    override connect(done?: (error?: unknown) => void): Promise<unknown> {
      const connected = this.#connect();
      // The pool passes a callback, and does not wait for the promise.
      return done ? connected.then(() => done(), done) : connected;
    }

    async #connect(): Promise<void> {
      // Without a listener, an error between connecting and the pool's own listener would end the process.
      this.on('error', () => undefined);
      const options = await director.locate();
      const { host, address, port, ssl } = options;
      Object.assign(this.connectionParameters, { host, port });
      Object.assign(this, { host: address, port, ssl });
      this.connection.ssl = ssl;
      this.connection.prependListener('errorMessage', ({ code }) => {
        if (code === readOnlyCode && !this.#isRetired) director.leave();
      });
      director.add(this);
      this.once('end', () => director.remove(this));
      const timer = setInterval(() => this.suspect(), suspicionMs);
      try {
        await super.connect();
        this.databaseId = await director.prepare(this);
      } catch (error) {
        director.forget(options);
        void this.end();
        throw error;
      } finally {
        clearInterval(timer);
      }
    }

    suspect(): void {
      director.suspect(this);
    }

    retire(): void {
      if (this.#isRetired) return;
      this.#isRetired = true;
      const endIfIdle = () => {
        if (this.readyForQuery && this.getTransactionStatus() === 'I') this.abandon();
      };
      this.on('drain', endIfIdle);
      // A server that was replaced may never answer.
      const timer = setInterval(() => this.suspect(), suspicionMs);
      this.once('end', () => clearInterval(timer));
      endIfIdle();
    }

    abandon(): void {
      this.connection.stream.destroy(
        new ServerLeftError('the connection was closed, because its server was left'),
      );
    }
  };
}

/** The connection was closed, because its server accepts no changes, or another one has taken its place. */
class ServerLeftError extends Error {
  readonly code = 'ECONNRESET';
}
