import { hasTrailSql } from '../audit/trail-head.ts';
import { currentTimeMs } from '../common/clock.ts';
import type { Database } from '../database/database.ts';
import { deleteInBatches } from '../database/delete-in-batches.ts';

const dayMs = 86_400_000;
/** How long a message is kept that was delivered, or has failed. */
const endedMs = 7 * dayMs;
/** How long a message is kept that waits: behind others, or for a disabled endpoint. */
const waitingMs = 30 * dayMs;

/** Deletes old messages of webhook endpoints, in batches. The audit trail keeps the events. */
export async function purgeWebhookMessages(
  { database }: { database: Pick<Database, 'asSystem'> },
  signal?: AbortSignal,
): Promise<number> {
  const now = currentTimeMs();
  return deleteInBatches(
    database,
    {
      table: 'webhook_message',
      condition: `created_at < ? and (status <> 'PENDING' or created_at < ?)
        and ${hasTrailSql('webhook_message.org_id')}`,
      orderBy: 'created_at',
      params: [new Date(now - endedMs), new Date(now - waitingMs)],
    },
    signal,
  );
}
