import { hasTrailSql } from '../../audit/trail-head.ts';
import { currentTimeMs } from '../../common/clock.ts';
import type { Database } from '../../database/database.ts';
import { deleteInBatches } from '../../database/delete-in-batches.ts';

/** How long the history of the status of connections is kept, in days. */
const historyDays = 90;

/** Returns the time before which the history is no longer shown. */
export function historyStart(): Date {
  return new Date(currentTimeMs() - historyDays * 86_400_000);
}

/** Deletes what is older than `historyDays` from the history of connections and hosts, in batches. */
export async function deleteOldHistory(
  { database }: { database: Database },
  signal?: AbortSignal,
): Promise<void> {
  const params = [historyStart()];
  for (const table of ['connection_status_history', 'host_outage_history']) {
    const condition = `until < ? and ${hasTrailSql(`${table}.org_id`)}`;
    await deleteInBatches(database, { table, condition, orderBy: 'until', params }, signal);
  }
}
