import { hasTrailSql } from '../../audit/trail-head.ts';
import { currentTimeMs } from '../../common/clock.ts';
import type { Database } from '../../database/database.ts';
import { deleteInBatches } from '../../database/delete-in-batches.ts';
import { usageRetentionDays } from './usage-range.ts';

/** The purged connections that one statement finds: it reads the last uses of all connections. */
const purgedBatch = 5_000;

const tables = ['connection_usage', 'connection_usage_caller'] as const;

/** Deletes usage that is older than `usageRetentionDays`, in batches. */
export async function deleteExpiredUsage(
  { database }: { database: Pick<Database, 'asSystem'> },
  signal?: AbortSignal,
): Promise<void> {
  const params = [new Date(currentTimeMs() - usageRetentionDays * 86_400_000)];
  for (const table of tables) {
    const condition = `hour < ? and ${hasTrailSql(`${table}.org_id`)}`;
    await deleteInBatches(database, { table, condition, orderBy: 'hour', params }, signal);
  }
}

/** Deletes the usage of connections that were purged, in batches. */
export async function deleteUsageOfPurged(
  { database }: { database: Pick<Database, 'asSystem'> },
  signal?: AbortSignal,
): Promise<void> {
  for (;;) {
    // Every connection with usage has a row in this table.
    const purged = await database.asSystem().execute<{ orgId: string; id: string }[]>(
      `select org_id as "orgId", connection_id as id from connection_last_use
       where not exists (select from app_connection where id = connection_id)
         and ${hasTrailSql('connection_last_use.org_id')} limit ${purgedBatch}`,
    );
    for (const { orgId, id } of purged) {
      const ofConnection = { condition: 'org_id = ? and connection_id = ?', params: [orgId, id] };
      for (const table of tables) await deleteInBatches(database, { table, ...ofConnection }, signal);
      // Last, so that the rest is found the next time if this is interrupted.
      if (signal?.aborted) return;
      const table = 'connection_last_use';
      const deleted = await deleteInBatches(database, { table, ...ofConnection }, signal);
      // Another server cleans up.
      if (deleted === 0) return;
    }
    if (purged.length < purgedBatch) return;
  }
}
