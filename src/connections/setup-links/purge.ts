import { hasTrailSql } from '../../audit/trail-head.ts';
import { currentTimeMs } from '../../common/clock.ts';
import type { Database } from '../../database/database.ts';
import { deleteInBatches } from '../../database/delete-in-batches.ts';

/** How long the list of a connection shows a link that has expired. The audit trail keeps what was done with it. */
const retentionMs = 30 * 86_400_000;

/** Deletes setup links that expired a month ago, in batches. */
export async function purgeSetupLinks(
  { database }: { database: Pick<Database, 'asSystem'> },
  signal?: AbortSignal,
): Promise<number> {
  const condition = `expires_at < ? and ${hasTrailSql('connection_setup_link.org_id')}`;
  const expired = { table: 'connection_setup_link', condition, orderBy: 'expires_at' };
  const params = [new Date(currentTimeMs() - retentionMs)];
  return deleteInBatches(database, { ...expired, params }, signal);
}
