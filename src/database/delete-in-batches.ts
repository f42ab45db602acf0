import type { EntityManager } from '@mikro-orm/postgresql';
import type { Database } from './database.ts';

/** The most rows that a transaction of a clean-up deletes. */
export const cleanUpBatchRows = 200;

// An arbitrary constant that all servers of this program share.
const cleanUpLock = 4_216_017_334;

/**
 * Runs a batch of a clean-up in a transaction of `em`, unless another server runs one. The advisory lock ends with the
 * transaction, so it works with transaction poolers too.
 *
 * @returns the result of `task`; undefined if another server runs a batch and the task did not run
 */
export async function runCleanUpBatch<Result>(
  em: EntityManager,
  task: (em: EntityManager) => Promise<Result>,
): Promise<Result | undefined> {
  return em.transactional(async (tx) => {
    const lock = await tx.execute<{ acquired: boolean }>(
      `select pg_try_advisory_xact_lock(${cleanUpLock}) as acquired`,
      [],
      'get',
    );
    return lock.acquired ? task(tx) : undefined;
  });
}

/** The rows that a clean-up deletes. */
interface OldRows {
  table: string;
  condition: string;
  /**
   * The column of an index, if the condition is a range of it. Otherwise PostgreSQL, which does not know how few rows are in the range
   * once the statement is prepared, reads the whole table to find the first ones.
   */
  orderBy?: string;
  params: readonly unknown[];
}

/**
 * Deletes the rows of a table that meet a condition, `cleanUpBatchRows` at a time, until there are none, `signal`
 * aborts, or another server cleans up. A row that changes meanwhile stays, because its `ctid` changes.
 *
 * @returns the number of deleted rows
 */
export async function deleteInBatches(
  database: Pick<Database, 'asSystem'>,
  { table, condition, orderBy, params }: OldRows,
  signal?: AbortSignal,
): Promise<number> {
  const statement = `delete from ${table} where ctid = any(array(
    select ctid from ${table} where ${condition} ${orderBy ? `order by ${orderBy}` : ''} limit ${cleanUpBatchRows}))`;
  let deleted = 0;
  while (!signal?.aborted) {
    const batch = await runCleanUpBatch(database.asSystem(), (em) =>
      em.execute<{ affectedRows: number }>(statement, [...params], 'run'),
    );
    deleted += batch?.affectedRows ?? 0;
    if (!batch || batch.affectedRows < cleanUpBatchRows) break;
  }
  return deleted;
}
