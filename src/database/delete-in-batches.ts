import type { EntityManager } from '@mikro-orm/postgresql';
import type { Database } from './database.ts';

/** The most rows that one transaction of a clean-up removes. */
export const cleanUpBatchRows = 200;

// Any constant will do, so long as every server of ours uses the same and nobody else does.
const cleanUpLock = 4_216_017_334;

/**
 * Runs one batch of a clean-up in a transaction of `em`, while no other server runs one. The lock ends with the
 * transaction, so that it also works through poolers that give each transaction another connection.
 *
 * @returns the result of `work`, or undefined without running it while another server runs a batch
 */
export async function runInTransaction<Result>(
  em: EntityManager,
  work: (em: EntityManager) => Promise<Result>,
): Promise<Result | undefined> {
  return em.transactional(async (tx) => {
    const lock = await tx.execute<{ acquired: boolean }>(
      `select pg_try_advisory_xact_lock(${cleanUpLock}) as acquired`,
      [],
      'get',
    );
    return lock.acquired ? work(tx) : undefined;
  });
}

/**
 * Deletes the rows of a table that meet a condition, `cleanUpBatchRows` at a time, until there are none, `signal`
 * aborts, or another server cleans up. A row that is changed meanwhile stays: it is not at its old place any more.
 *
 * @returns how many rows it has deleted
 */
export async function deleteInBatches(
  database: Pick<Database, 'asSystem'>,
  { table, condition, params }: { table: string; condition: string; params: readonly unknown[] },
  signal?: AbortSignal,
): Promise<number> {
  const statement = `delete from ${table} where ctid = any(array(
    select ctid from ${table} where ${condition} limit ${cleanUpBatchRows}))`;
  let deleted = 0;
  while (!signal?.aborted) {
    const batch = await runInTransaction(database.asSystem(), (em) =>
      em.execute<{ affectedRows: number }>(statement, [...params], 'run'),
    );
    deleted += batch?.affectedRows ?? 0;
    if (!batch || batch.affectedRows < cleanUpBatchRows) break;
  }
  return deleted;
}
