import { createRequire } from 'node:module';
import type { Query, QueryCallback, Statement } from './types.ts';

/** How a connection to a server is opened. */
export interface ServerOptions {
  /** The host name, the IP address or the folder of a Unix socket, for which certificates and entries of `.pgpass` are. */
  host: string;
  /** The host name, the IP address or the folder of a Unix socket to connect to. */
  address: string;
  port: number;
  database: string;
  user?: string;
  password?: string;
  /** Settings in the form of command-line options of PostgreSQL. */
  options?: string;
  application_name?: string;
  enableChannelBinding?: boolean;
  sslnegotiation?: string;
  ssl: false | TlsOptions;
}

/** Options of `tls.connect`. Certificates and keys are PEM. */
export interface TlsOptions {
  ca?: string;
  cert?: string;
  key?: string;
  passphrase?: string | undefined;
  /** The name or address that the certificate must have. */
  host?: string;
  servername?: string;
  rejectUnauthorized?: boolean;
  checkServerIdentity?: () => undefined;
}

/** Options of a connection; times are in milliseconds. */
interface ConnectionOptions extends ServerOptions {
  connectionTimeoutMillis: number;
  /** The longest wait for the result of a statement. */
  query_timeout: number;
}

/** A connection outside of the pool. Its statements run as the user that connects. */
export interface PlainClient {
  connect(): Promise<unknown>;
  query(text: string, values?: readonly unknown[]): Promise<{ rows: object[] }>;
  query(statement: Statement & { query_timeout: number }): Promise<{ rows: object[] }>;
  end(): Promise<void>;
  once(event: 'end', listener: () => void): unknown;
  on(event: 'drain', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'notification', listener: (notification: Notification) => void): unknown;
  /** The process id that the server announced: that of PostgreSQL's backend, or one that a pooler has made up. */
  readonly processID: number | null;
  /** The host and the port to which `connect` connects. */
  host: string;
  port: number;
  ssl: false | TlsOptions;
  /** The host and the port for which pg looks up the password. */
  readonly connectionParameters: object;
  readonly connection: {
    ssl: false | TlsOptions;
    readonly stream: { destroy(error: Error): void };
    prependListener(event: 'errorMessage', listener: (error: { code?: string }) => void): unknown;
  };
  /** Whether no statement is being executed. */
  readonly readyForQuery: boolean;
  /** The status of the last `ReadyForQuery`: `I` outside of a transaction. */
  getTransactionStatus(): 'I' | 'T' | 'E' | null;
}

/** The class of connections. */
export type ClientClass = new (options: ConnectionOptions) => PlainClient;

/** A message of `NOTIFY`. */
export interface Notification {
  payload?: string;
  /** The process id of the backend that sent it. */
  processId: number;
}

/** A pool of plain connections. */
interface PlainPool {
  query(text: string): Promise<unknown>;
  end(): Promise<void>;
  on(event: 'error', listener: () => void): unknown;
}

/** The subset of pg that this server uses. */
interface Pg {
  Client: ClientClass;
  Pool: new (
    options: ConnectionOptions & {
      Client: ClientClass;
      max: number;
      idleTimeoutMillis: number;
      allowExitOnIdle: boolean;
    },
  ) => PlainPool;
  Query: new (statement: string | Statement, values: undefined, done: QueryCallback) => Query;
}

/** Loads pg, which a server on the embedded database does not need. */
export function loadPg(): Pg {
  return createRequire(import.meta.url)('pg');
}
