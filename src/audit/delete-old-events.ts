import type { EntityManager } from '@mikro-orm/postgresql';
import { currentTimeMs } from '../common/clock.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { cleanUpBatchRows, runCleanUpBatch } from '../database/delete-in-batches.ts';
import { AuditEvent } from './audit-event.entity.ts';
import { AuditRetention } from './audit-retention.entity.ts';
import { AuditStreamPosition } from './audit-stream.entity.ts';
import type { AuditDeps } from './hash-chain.ts';
import { toDeliveredPosition } from './stream-position.ts';
import { findHead } from './trail-head.ts';
import { continuesChain } from './verify-chain.ts';

/** The dependencies of the retention. */
export type RetentionDeps = AuditDeps & {
  log: Logger;
  /** Undefined: events are kept for ever. */
  auditRetentionDays: number | undefined;
  /** Whether this server streams audit events: then those that were not delivered yet are kept. */
  streamsAudit?: boolean | undefined;
};

/** Deletes audit events that are older than the retention, as `deleteEventsBefore` does. */
export async function deleteOldEvents(deps: RetentionDeps, signal?: AbortSignal): Promise<void> {
  const { auditRetentionDays } = deps;
  if (auditRetentionDays === undefined) return;
  await deleteEventsBefore(deps, new Date(currentTimeMs() - auditRetentionDays * 86_400_000), signal);
}

/**
 * Deletes the events of all trails before a time, except the last of each trail, and those that a webhook endpoint has not read or the
 * stream has not delivered yet. A transaction deletes at most `cleanUpBatchRows` events of one trail. It verifies them first, because nothing could tell afterwards
 * that they were changed: a broken trail is kept, and logged. Stops if `signal` aborts, or if another server cleans up.
 */
export async function deleteEventsBefore(
  deps: Omit<RetentionDeps, 'auditRetentionDays'>,
  before: Date,
  signal?: AbortSignal,
): Promise<void> {
  const due = await deps.database.asSystem().execute<{ orgId: string }[]>(
    `select org_id as "orgId" from audit_head as head where deletion_started_at is null and exists (
        select from audit_event as event where event.org_id = head.org_id and event.at < ? and event.seq < head.seq)
      order by org_id`,
    [before],
  );
  for (const { orgId } of due) {
    const deleteBatch = () =>
      runCleanUpBatch(deps.database.asSystem(), (em) => deleteOldest(em, deps, orgId, before));
    for (let progress: Progress = 'more'; progress === 'more'; ) {
      if (signal?.aborted) return;
      try {
        progress = (await deleteBatch()) ?? 'busy';
      } catch (error) {
        // A row was changed outside this server, for example. It does not stop the others.
        deps.log.error({ orgId, error: safeErrorFields(error) }, 'old audit events could not be deleted');
        progress = 'done';
      }
      if (progress === 'busy') return;
    }
  }
}

/** What a batch has done. `busy`: another server cleans up. */
type Progress = 'done' | 'more' | 'busy';

async function deleteOldest(
  em: EntityManager,
  { vault, log, streamsAudit }: Omit<RetentionDeps, 'auditRetentionDays'>,
  orgId: string,
  before: Date,
): Promise<Progress> {
  const head = await findHead(em, vault, orgId);
  if (!head || head.deletionStartedAt) return 'done';
  const deleted = await em.findOne(AuditRetention, { orgId });
  if (deleted) (await vault.rowMacs(em)).verify(em, AuditRetention, deleted);
  const { unread } = await em.execute<{ unread: number | null }>(
    'select min(position) + 1 as unread from webhook_endpoint where org_id = ? and disabled_at is null',
    [orgId],
    'get',
  );
  let last = { seq: deleted?.seq ?? 0, hash: deleted?.hash ?? '', at: deleted?.lastAt };
  const first = last.seq;
  const streamed = streamsAudit
    ? await toDeliveredPosition(em, vault, await em.findOne(AuditStreamPosition, { orgId }))
    : head;
  const seq = { $gt: last.seq, $lt: Math.min(head.seq, unread ?? head.seq, streamed.seq + 1) };
  const oldest = { orderBy: { seq: 'asc' }, limit: cleanUpBatchRows } as const;
  for (const event of await em.find(AuditEvent, { orgId, seq }, oldest)) {
    if (event.at >= before) break;
    if (!(await continuesChain(em, vault, event, last))) {
      log.error({ orgId, seq: event.seq }, 'old audit events are kept, because their trail is broken');
      break;
    }
    last = event;
  }
  if (last.seq === first || !last.at) return 'done';
  const change = { seq: last.seq, hash: last.hash, lastAt: last.at };
  if (deleted) Object.assign(deleted, change);
  else em.create(AuditRetention, { orgId, ...change });
  // First, because the database refuses to delete other events.
  await em.flush();
  const range = [orgId, first, last.seq];
  await em.execute('delete from audit_event where org_id = ? and seq > ? and seq <= ?', range, 'run');
  return last.seq - first < cleanUpBatchRows ? 'done' : 'more';
}
