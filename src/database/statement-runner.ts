import type { PGlite } from '@electric-sql/pglite';
import type { MikroORM } from '@mikro-orm/postgresql';
import { queryPool } from './driver/query-pool.ts';
import { inSession, systemSession } from './driver/session.ts';
import type { Pool } from './driver/types.ts';

/** Runs SQL of another library as the system. `$1` stands for the first value. */
export type StatementRunner = (sql: string, values?: readonly unknown[]) => Promise<{ rows: object[] }>;

/** A transaction in one text, which has no values: `begin; …; commit;`. */
const transactionText = /^\s*begin;(.*)commit;?\s*$/is;

/**
 * Creates the runner of a database. A text with a whole transaction runs in one transaction of the session, because a session
 * is set up between `begin` and the statements.
 */
export function createStatementRunner(orm: MikroORM, isEmbedded: boolean): StatementRunner {
  const native = () => orm.em.getConnection().getNativeClient();
  return isEmbedded
    ? (sql, values) => inSession(systemSession, async () => runEmbedded(await native(), sql, values))
    : async (sql, values) => runOnPool(await native(), sql, values);
}

async function runOnPool(pool: Pool, sql: string, values?: readonly unknown[]): Promise<{ rows: object[] }> {
  const [, statements] = values?.length ? [] : (transactionText.exec(sql) ?? []);
  if (statements === undefined) return queryPool(pool, systemSession, sql, values);
  return inSession(systemSession, async () => {
    const client = await pool.connect();
    try {
      await client.query('begin');
      // pg returns a list for several statements.
      const results = [await client.query(statements)].flat();
      await client.query('commit');
      client.release();
      return { rows: results.flatMap(({ rows }) => rows) };
    } catch (error) {
      client.release(true);
      throw error;
    }
  });
}

async function runEmbedded(
  database: PGlite,
  sql: string,
  values?: readonly unknown[],
): Promise<{ rows: object[] }> {
  const [, statements] = values?.length ? [] : (transactionText.exec(sql) ?? []);
  if (statements === undefined) return database.query<object>(sql, values ? [...values] : []);
  return database.transaction(async (transaction) => {
    const results = await transaction.exec(statements);
    return { rows: results.flatMap(({ rows }) => rows as object[]) };
  });
}
