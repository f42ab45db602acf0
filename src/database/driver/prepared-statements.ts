import { LRUCache } from 'lru-cache';
import type { NewClient, Statement } from './types.ts';

/** The use from which on a statement is prepared; the name and the number are pgjdbc's. */
const prepareThreshold = 5;
/** PostgreSQL holds each prepared statement with its plan, on each connection. */
const maxPrepared = 200;
/** The most characters in each cache. Callers determine the length of a list in a text. */
const maxCharacters = 1_000_000;

const byCharacters = { maxSize: maxCharacters, sizeCalculation: (_: unknown, text: string) => text.length };

/** Counts the uses of texts that are not prepared yet. */
const uses = new LRUCache<string, number>(byCharacters);
/** The names of prepared texts. The least recently used ones are evicted. */
const names = new LRUCache<string, string>({ max: maxPrepared, ...byCharacters });
let lastNumber = 0;
/** Increases when a table has changed; what was prepared before is then prepared again. */
let generation = 0;

/**
 * PostgreSQL's `feature_not_supported`. A prepared statement fails with it, before it is executed, once the type of its result has
 * changed: a newer server has added a column to a table of which it selects all columns.
 */
export const outdatedStatementCode = '0A000';

/** Makes all connections prepare their statements again. */
export function forgetPreparedStatements(): void {
  generation += 1;
}

/**
 * Prepares frequent statements of a connection, so that PostgreSQL parses and plans them once. pgjdbc does the same
 * (https://jdbc.postgresql.org/documentation/server-prepare/); pg prepares only statements that have a name, and neither
 * MikroORM nor Kysely names them. Remove it when one of them does (docs/adr/0010-driver-extensions.md).
 *
 * @returns a function that names a statement if it is frequent
 */
export function createStatementPreparer({
  connection,
}: Pick<NewClient, 'connection'>): (text: string, values: readonly unknown[]) => Statement {
  const prepared = new LRUCache<string, true>({
    max: maxPrepared,
    // The driver waits for no response to Close, and PostgreSQL accepts it in a failed transaction too. The next statement
    // sends the Sync that ends its group of messages.
    dispose: (_, name) => {
      connection.close({ type: 'S', name });
      delete connection.parsedStatements[name];
    },
  });
  let preparedIn = generation;
  return (text, values) => {
    if (preparedIn !== generation) prepared.clear();
    preparedIn = generation;
    const name = findOrAssignName(text);
    if (name === undefined) return { text, values };
    prepared.set(name, true);
    return { name, text, values };
  };
}

function findOrAssignName(text: string): string | undefined {
  const existing = names.get(text);
  if (existing) return existing;
  const count = (uses.get(text) ?? 0) + 1;
  if (count < prepareThreshold) {
    uses.set(text, count);
    return undefined;
  }
  uses.delete(text);
  lastNumber += 1;
  const name = `kept_${lastNumber}`;
  names.set(text, name);
  return name;
}
