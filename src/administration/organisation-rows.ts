import type { EntityManager } from '@mikro-orm/postgresql';
import { cleanUpBatchRows } from '../database/delete-in-batches.ts';

/** What a step has done. `busy`: another server cleans up. */
export type Progress = 'done' | 'more' | 'busy';

/** The rows of deleted connections, which have no index by organisation, are deleted with these. */
const ofConnections =
  'connection_id in (select id from app_connection where org_id = ? and deleted_at is null)';

/**
 * The tables with rows of organisations, except those that the last transaction empties: credentials first, so that nothing is done
 * with the rest any more, then rows before those that they refer to. Each has the condition that finds the rows by an index.
 */
const tables: readonly (readonly [table: string, condition: string])[] = [
  ['api_key', 'org_id = ?'],
  ['connection_setup_link', ofConnections],
  ['webhook_message', 'endpoint_id in (select id from webhook_endpoint where org_id = ?)'],
  ['webhook_endpoint', 'org_id = ?'],
  ['idempotent_request', 'org_id = ?'],
  ['rate_budget', 'org_id = ?'],
  ['connection_usage', 'org_id = ?'],
  ['connection_usage_caller', 'org_id = ?'],
  ['connection_last_use', 'org_id = ?'],
  ['connection_tag', 'org_id = ?'],
  ['connection_status_history', ofConnections],
  ['host_outage', 'org_id = ?'],
  ['host_outage_history', 'org_id = ?'],
  ['host_certificate', 'org_id = ?'],
  ['mail_count', 'org_id = ?'],
  ['mail_opt_out', 'org_id = ?'],
  ['app_connection', 'org_id = ? and deleted_at is null'],
  ['app_connection', 'org_id = ? and deleted_at is not null'],
  ['project', 'org_id = ?'],
  ['audit_event', 'org_id = ?'],
  ['audit_retention', 'org_id = ?'],
  ['audit_stream_position', 'org_id = ?'],
];

/**
 * Deletes the rows of an organisation, in small transactions, except its data keys, the head of its audit trail and the row of the
 * organisation itself, which others refer to until the end.
 *
 * @param inBatch runs a task in a transaction
 * @returns `more` if `signal` has aborted
 */
export async function deleteOrganisationRows(
  inBatch: (task: (em: EntityManager) => Promise<Progress>) => Promise<Progress>,
  orgId: string,
  signal?: AbortSignal,
): Promise<Progress> {
  for (const [table, condition] of tables) {
    for (let progress: Progress = 'more'; progress === 'more'; ) {
      if (signal?.aborted) return 'more';
      progress = await inBatch(async (em) => {
        const { affectedRows } = await em.execute<{ affectedRows: number }>(
          `delete from ${table} where ctid = any(array(
            select ctid from ${table} where ${condition} limit ${cleanUpBatchRows}))`,
          [orgId],
          'run',
        );
        return affectedRows < cleanUpBatchRows ? 'done' : 'more';
      });
      if (progress === 'busy') return 'busy';
    }
  }
  return 'done';
}
