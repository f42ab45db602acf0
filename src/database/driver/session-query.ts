import { loadPg } from './pg.ts';
import { type Session, sessionStatement } from './session.ts';
import type { Connection, NewClient, QueryCallback, Statement } from './types.ts';

const beginsTransaction = /^\s*(begin|start\s+transaction)\b/i;

/** Whether a statement begins a transaction. */
export function isBegin({ text }: Statement): boolean {
  return beginsTransaction.test(text);
}

/**
 * A statement that takes the settings of its session with it, in one round trip. The settings last until the end of the
 * transaction, so they work behind a pooler that assigns a connection of PostgreSQL for each transaction
 * (docs/adr/0002-row-level-security.md).
 *
 * PostgreSQL executes the messages up to a Sync as one transaction, and skips the rest after an error. Outside of a
 * transaction, the settings come before the statement; after `begin`, they come second; within a transaction, a statement
 * goes without them. Remove it when MikroORM's `sessionContext` needs no round trips of its own.
 */
export class SessionQuery extends loadPg().Query {
  readonly #client: NewClient;
  /** The statement before this one, whose result is ignored; undefined after it. */
  #first: Statement | undefined;
  readonly #name: string | undefined;

  /** @param prepares whether the settings are a prepared statement */
  constructor(
    client: NewClient,
    session: Session,
    { name, text, values }: Statement,
    prepares: boolean,
    done: QueryCallback,
  ) {
    const statement = { ...(name && { name }), text, ...(values && { values }) };
    const isFirst = isBegin(statement);
    const { name: settingsName, ...unnamed } = sessionStatement(
      session,
      isFirst ? 'transaction' : 'statement',
    );
    const settings: Statement = { ...(prepares && { name: settingsName }), ...unnamed };
    const second = isFirst ? settings : statement;
    super(second, undefined, done);
    this.#client = client;
    this.#first = isFirst ? statement : settings;
    this.#name = second.name;
  }

  override submit(connection: Connection): Error | null {
    if (this.#client.getTransactionStatus() !== 'I') this.#first = undefined;
    if (!this.#first) return super.submit(connection);
    this.queryMode = 'extended';
    connection.stream.cork();
    try {
      sendFirst(connection, this.#first);
      return super.submit(connection);
    } finally {
      // pg takes the next statement that PostgreSQL has parsed for the one with this name.
      this.name = undefined;
      connection.stream.uncork();
    }
  }

  override handleDataRow(message: unknown): void {
    if (!this.#first) super.handleDataRow(message);
  }

  override handleCommandComplete(message: unknown, connection: Connection): void {
    if (!this.#first) {
      super.handleCommandComplete(message, connection);
      return;
    }
    const { name, text } = this.#first;
    if (name) connection.parsedStatements[name] = text;
    this.#first = undefined;
    this.name = this.#name;
  }

  override handleError(error: Error, connection: Connection): void {
    if (this.#name) delete connection.submittedNamedStatements[this.#name];
    super.handleError(error, connection);
  }
}

/** Sends a statement without Describe and Sync: no description of its rows arrives, and the next statement ends the group. */
function sendFirst(connection: Connection, { name = '', text, values = [] }: Statement): void {
  if (!name || connection.parsedStatements[name] === undefined) {
    // PostgreSQL keeps a statement that it has prepared in a group that failed later.
    if (name) connection.close({ type: 'S', name });
    connection.parse({ name, text });
  }
  connection.bind({ statement: name, values });
  connection.execute({});
}
