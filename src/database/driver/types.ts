/** The subset of `pg.Pool` that this server uses. */
export interface Pool {
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
  /** The messages of the protocol. */
  readonly connection: {
    readonly stream: { destroy(error: Error): void };
    /** The texts of the client's prepared statements, by name. */
    readonly parsedStatements: Record<string, string>;
    /** Closes a prepared statement. */
    close(message: { type: 'S'; name: string }): void;
  };
}

/** A client as pg creates it, whose `query` takes a callback. */
export interface NewClient extends Omit<Client, 'query'> {
  query: SendQuery;
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

/** Sends a statement and passes its result to a callback. */
export type SendQuery = (
  statement: string | Statement,
  done: (error: Error | null, result: Result) => void,
) => void;
