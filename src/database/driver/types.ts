/** The subset of `pg.Pool` that this server uses. */
export interface Pool {
  readonly totalCount: number;
  readonly idleCount: number;
  readonly options: { readonly max: number };
  connect(): Promise<Client>;
  on(event: 'connect', listener: (client: NewClient) => void): unknown;
  on(event: 'acquire', listener: (client: Client) => void): unknown;
  on(event: 'release', listener: (error: unknown, client: Client) => void): unknown;
}

/** A client of the pool, instrumented. */
export interface Client {
  query(statement: string | Statement, values?: readonly unknown[]): Promise<Result>;
  release(isBroken?: boolean): void;
  once(event: 'end', listener: () => void): unknown;
  readonly connection: Connection;
}

/** The messages of the protocol. */
export interface Connection {
  readonly stream: {
    destroy(error: Error): void;
    cork(): void;
    uncork(): void;
    on(event: 'data', listener: () => void): unknown;
    prependListener(event: 'data', listener: () => void): unknown;
  };
  /** The texts of prepared statements, by name. */
  readonly parsedStatements: Record<string, string>;
  /** The texts of statements whose preparation PostgreSQL has not confirmed, by name. */
  readonly submittedNamedStatements: Record<string, string>;
  parse(message: { name: string; text: string }): void;
  bind(message: { statement: string; values: readonly unknown[] }): void;
  execute(message: object): void;
  /** Closes a prepared statement. */
  close(message: { type: 'S'; name: string }): void;
}

/** A client as pg creates it. */
export interface NewClient extends Omit<Client, 'query'> {
  query(query: Query): void;
  /** Checks whether another server has taken the place of this silent one, and closes the connection if so. */
  suspect(): void;
  /** The status of the last `ReadyForQuery`: `I` outside of a transaction. */
  getTransactionStatus(): 'I' | 'T' | 'E' | null;
}

/** The result of a statement. */
export interface Result {
  rows: object[];
}

/** A statement with `$1` for its first value; the driver prepares it if it has a name. */
export interface Statement {
  name?: string;
  text: string;
  values?: readonly unknown[];
}

/** A statement that pg sends, and the handlers of the messages that arrive for it. */
export interface Query {
  /** The name under which pg remembers the statement as prepared when PostgreSQL has parsed it. */
  name: string | undefined;
  queryMode: 'extended' | undefined;
  submit(connection: Connection): Error | null;
  handleRowDescription(message: unknown): void;
  handleDataRow(message: unknown): void;
  handleCommandComplete(message: unknown, connection: Connection): void;
  handleError(error: Error, connection: Connection): void;
}

/** Receives the result of a statement. */
export type QueryCallback = (error: Error | null, result: Result) => void;
