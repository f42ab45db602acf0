import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import type { AuditDeps } from '../audit/hash-chain.ts';
import { isDueSql } from '../audit/stream-position.ts';
import { currentTime, currentTimeMs } from '../common/clock.ts';
import { errorField } from '../common/error-field.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { runCleanUpBatch } from '../database/delete-in-batches.ts';
import { jobSchema } from '../database/job-schema.ts';
import { DataKey } from '../encryption/data-key.entity.ts';
import { OrganisationDeletion } from '../identity/organisation-deletion.entity.ts';
import { deleteOrganisationRows, type Progress } from './organisation-rows.ts';
import { lockHead, recordStatus } from './organisation-status.ts';

/** PostgreSQL's `foreign_key_violation`. */
const foreignKeyViolation = '23503';
const dayMs = 86_400_000;
/** How often the rows are deleted at most if requests in flight store others meanwhile. */
const maxRounds = 10;

/**
 * Deletes the organisations whose deletion is due, in small transactions. A deletion waits until the stream of audit events has all events
 * of the organisation, because they cannot be verified without its data keys. If the server stops or another one cleans up, the next
 * call on any server continues.
 */
export async function deleteDueOrganisations(
  deps: AuditDeps & { log: Logger; streamsAudit?: boolean | undefined },
  signal?: AbortSignal,
): Promise<void> {
  const due = await deps.database.asSystem().execute<{ id: string; waits: boolean }[]>(
    `select id, started_at is null and ${isDueSql} as waits from organisation_deletion as deletion
        join audit_head as head on head.org_id = id
        left join audit_stream_position as position on position.org_id = id
      where completed_at is null and (started_at is not null or head.delete_at <= ?) order by head.delete_at, id`,
    [currentTime()],
  );
  for (const { id, waits } of due) {
    if (signal?.aborted) return;
    if (deps.streamsAudit && waits) {
      deps.log.warn(
        { orgId: id },
        'the deletion of an organisation waits until AUDIT_STREAM has its audit events; "admin organisation delete --now" does not wait',
      );
      continue;
    }
    try {
      if ((await deleteOrganisation(deps, id, signal)) === 'busy') return;
    } catch (error) {
      // A status that was changed outside this server, for example. It does not stop the others.
      deps.log.error({ orgId: id, error: safeErrorFields(error) }, 'an organisation could not be deleted');
    }
  }
}

/**
 * Deletes all rows of an organisation whose deletion is due, and keeps the row of its deletion. The data keys are destroyed first, so
 * that its credentials cannot be decrypted from then on.
 *
 * @returns `more` if `signal` has aborted
 * @throws MacMismatch if its status or the row of its deletion was changed outside this server
 */
export async function deleteOrganisation(
  deps: AuditDeps,
  id: string,
  signal?: AbortSignal,
): Promise<Progress> {
  const started = await inBatch(deps, (em) => startDeletion(em, deps, id));
  deps.vault.forget(id);
  if (started !== 'done') return started;
  for (let round = 1; !signal?.aborted; round += 1) {
    const emptied = await deleteOrganisationRows((task) => inBatch(deps, task), id, signal);
    if (emptied !== 'done') return emptied;
    const finished = await inBatch(deps, (em) => finishDeletion(em, deps, id)).catch((error: unknown) => {
      // Work in flight has stored a row meanwhile, such as the message of a webhook.
      const isInUse = errorField(error, 'code') === foreignKeyViolation;
      if (isInUse && round < maxRounds) return 'more' as const;
      throw error;
    });
    if (finished !== 'more') return finished;
  }
  return 'more';
}

/**
 * Removes the data keys of organisations whose deletion has begun, on any server, from the memory of this one. A key that is being
 * unwrapped now is removed by a later call within a day.
 */
export async function forgetDeletedOrganisations({ database, vault }: AuditDeps): Promise<void> {
  const deleted = await database
    .asSystem()
    .execute<{ id: string }[]>(
      'select id from organisation_deletion where started_at is not null and (completed_at is null or completed_at > ?)',
      [new Date(currentTimeMs() - dayMs)],
    );
  for (const { id } of deleted) vault.forget(id);
}

async function inBatch(
  { database }: AuditDeps,
  task: (em: EntityManager) => Promise<Progress>,
): Promise<Progress> {
  return (await runCleanUpBatch(database.asSystem(), task)) ?? 'busy';
}

/**
 * Begins a deletion, which cannot be cancelled afterwards.
 *
 * @returns `done` if it has begun, now or before; `more` if it is not due or was cancelled
 */
async function startDeletion(em: EntityManager, deps: AuditDeps, id: string): Promise<Progress> {
  const known = await findDeletion(em, deps, id);
  if (known?.startedAt) return 'done';
  // Locked before the head, in the order of a key rotation.
  const byId = { orderBy: { id: 'asc' }, lockMode: LockMode.PESSIMISTIC_WRITE } as const;
  const dataKeys = await em.find(DataKey, { orgId: id }, byId);
  const { disabledAt, deleteAt } = await lockHead(em, deps, id);
  const now = currentTime();
  const deletion = await findDeletion(em, deps, id);
  if (!deletion || !deleteAt || deleteAt > now) return 'more';
  const { name, requestedBy } = deletion;
  const events = [{ action: 'DELETE_ORGANISATION', targetName: name }] as const;
  const status = { disabledAt, deleteAt, deletionStartedAt: now };
  const { seq, hash } = await recordStatus(em, deps, { id, name }, requestedBy, events, status);
  Object.assign(deletion, { startedAt: now, seq, hash });
  const macs = await deps.vault.rowMacs(em);
  for (const dataKey of dataKeys) {
    // Its MAC is not verified first: a row that was changed outside this server is destroyed too.
    const destroyed = macs.signed(em, DataKey, { ...dataKey, wrapped: '', rootKeyId: '' });
    const { wrapped, rootKeyId, mac } = destroyed;
    await em.nativeUpdate(DataKey, { id: dataKey.id }, { wrapped, rootKeyId, mac });
  }
  await em.flush();
  return 'done';
}

/** Deletes the last rows of an organisation, without which no other row of it can be stored. */
async function finishDeletion(em: EntityManager, deps: AuditDeps, id: string): Promise<Progress> {
  const deletion = await findDeletion(em, deps, id);
  if (!deletion || deletion.completedAt) return 'done';
  const run = (sql: string) => em.execute(sql, [id], 'run');
  await run(`delete from "${jobSchema(deps.database.schema)}".job where group_id = ?`);
  await run('delete from rate_limit where strpos(key, ?) > 0');
  await run('delete from data_key where org_id = ?');
  await run('delete from audit_head where org_id = ?');
  await run('delete from organisation where id = ?');
  deletion.completedAt = currentTime();
  await em.flush();
  deps.database.announce(em, id);
  return 'done';
}

async function findDeletion(
  em: EntityManager,
  { vault }: AuditDeps,
  id: string,
): Promise<OrganisationDeletion | null> {
  const deletion = await em.findOne(OrganisationDeletion, { id }, { refresh: true });
  if (deletion) (await vault.rowMacs(em)).verify(em, OrganisationDeletion, deletion);
  return deletion;
}
