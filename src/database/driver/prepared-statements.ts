import { LRUCache } from 'lru-cache';
import type { NewClient, Statement } from './types.ts';

const preparedAtUse = 5;
/** PostgreSQL keeps each with its plan, on each connection. */
const maxPrepared = 200;
/** Characters of all texts that are counted, and of all that are prepared. Callers choose how long a list in one is. */
const maxCharacters = 1_000_000;

const byCharacters = { maxSize: maxCharacters, sizeCalculation: (_: unknown, text: string) => text.length };

/** How often texts have come that are not prepared yet. */
const uses = new LRUCache<string, number>(byCharacters);
/** The names of those that are prepared. What comes seldom gives way to what comes often. */
const names = new LRUCache<string, string>({ max: maxPrepared, ...byCharacters });
let named = 0;

/**
 * Has statements that come again and again prepared on a connection, so that it keeps what PostgreSQL has made of them.
 * Neither MikroORM nor Kysely does; JDBC's driver does it in the same way.
 *
 * @returns gives a statement its name, if it comes often
 */
export function createStatementPreparer({
  connection,
}: Pick<NewClient, 'connection'>): (text: string, values: readonly unknown[]) => Statement {
  const prepared = new LRUCache<string, true>({
    max: maxPrepared,
    // The message has no answer that the driver waits for, and PostgreSQL heeds it in a failed transaction too. The next
    // statement brings the end of the group of messages that it belongs to.
    dispose: (_, name) => {
      connection.close({ type: 'S', name });
      delete connection.parsedStatements[name];
    },
  });
  return (text, values) => {
    const name = nameOf(text);
    if (name === undefined) return { text, values };
    prepared.set(name, true);
    return { name, text, values };
  };
}

function nameOf(text: string): string | undefined {
  const known = names.get(text);
  if (known) return known;
  const count = (uses.get(text) ?? 0) + 1;
  if (count < preparedAtUse) {
    uses.set(text, count);
    return undefined;
  }
  uses.delete(text);
  named += 1;
  const name = `kept_${named}`;
  names.set(text, name);
  return name;
}
