import { hasTrailSql } from '../../audit/trail-head.ts';
import { currentTimeMs } from '../../common/clock.ts';
import type { Database } from '../../database/database.ts';
import { deleteInBatches } from '../../database/delete-in-batches.ts';

/** Longer than the longest interval of checks: a server that dies after a check leaves the end of an outage to the next one. */
const keptMs = 8 * 86_400_000;

/** Removes outages of hosts that have no connections to check any more, so that nobody has checked them for eight days. */
export async function deleteOldOutages(
  { database }: { database: Database },
  signal?: AbortSignal,
): Promise<void> {
  const condition = `next_check_at < ? and ${hasTrailSql('host_outage.org_id')}`;
  const params = [new Date(currentTimeMs() - keptMs)];
  await deleteInBatches(database, { table: 'host_outage', condition, params }, signal);
}
