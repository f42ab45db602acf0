/** What of the driver's pool is used here. */
export interface Pool {
  readonly options: { readonly max: number };
  connect(): Promise<Client>;
  on(event: 'connect', listener: (client: NewClient) => void): unknown;
  on(event: 'acquire', listener: (client: Client) => void): unknown;
  on(event: 'release', listener: (error: unknown, client: Client) => void): unknown;
}

/** A connection of the pool. */
export interface Client {
  query(statement: string | Statement, values?: readonly unknown[]): Promise<Result>;
  release(isBroken?: boolean): void;
  once(event: 'end', listener: () => void): unknown;
  readonly connection: WireConnection & {
    readonly stream: { destroy(error: Error): void };
    /** The texts that are prepared on it, by their names. */
    readonly parsedStatements: Record<string, string>;
  };
}

/** As the driver makes it, with `query` as it is told by callback. */
export interface NewClient extends Omit<Client, 'query'> {
  query: SendQuery;
}

/** What comes of a statement. */
export interface Result {
  rows: object[];
}

/** A statement as the driver takes it, with `$1` for its first value; prepared, if it has a name. */
export interface Statement {
  name?: string;
  text: string;
  values?: readonly unknown[];
}

/** Asks, as the driver does it with a callback. */
export type SendQuery = (
  statement: string | Statement,
  done: (error: Error | null, result: Result) => void,
) => void;

/** What of a connection of the driver's is used here: the messages that it sends (PostgreSQL, "Extended Query"). */
export interface WireConnection {
  bind(what: { statement: string }): void;
  execute(what: object): void;
  close(what: { type: 'S'; name: string }): void;
  readonly stream: { cork(): void; uncork(): void };
}
