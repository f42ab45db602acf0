import type { AuditEvent } from '../audit/audit-event.entity.ts';
import { formatCount } from '../common/format-count.ts';
import type { Database } from '../database/database.ts';
import type { Vault } from '../encryption/vault.ts';
import { OrganisationDeletion } from '../identity/organisation-deletion.entity.ts';

/** Finds the deletions that have begun, by organisation. A row whose MAC is wrong explains nothing, and is left out. */
export async function findBegunDeletions(
  database: Pick<Database, 'asSystem'>,
  vault: Vault,
): Promise<ReadonlyMap<string, OrganisationDeletion>> {
  const em = database.asSystem();
  const macs = await vault.rowMacs(em);
  const begun = await em.find(
    OrganisationDeletion,
    { startedAt: { $ne: null } },
    { orderBy: { startedAt: 'asc', id: 'asc' } },
  );
  const authentic = begun.filter((deletion) => macs.matches(em, OrganisationDeletion, deletion));
  return new Map(authentic.map((deletion) => [deletion.id, deletion]));
}

/** Describes the end of a deleted organisation. */
export function describeDeletion({
  id,
  requestedBy,
  startedAt,
  completedAt,
  seq,
  hash,
}: OrganisationDeletion): string {
  const state = completedAt
    ? `deleted at ${completedAt.toISOString()}`
    : `being deleted since ${startedAt?.toISOString()}`;
  return `organisation ${id}: ${state}, requested by ${requestedBy}; ${formatCount(seq ?? 0, 'event')}, the last with the hash ${hash}`;
}

/**
 * Yields one line for each contradiction between a deletion and what else is known.
 *
 * @param checkpoints hashes of events in checkpoints, by `seq`
 * @param hasRows whether rows of the organisation are left
 */
export function* findContradictions(
  { id, completedAt, seq, hash }: OrganisationDeletion,
  checkpoints: ReadonlyMap<number, string> | undefined,
  hasRows: boolean,
): Generator<string> {
  if (completedAt && hasRows) yield `organisation ${id}: rows are left, or were added, after its deletion`;
  for (const [checkpointSeq, checkpointHash] of checkpoints ?? []) {
    if (checkpointSeq > (seq ?? 0))
      yield `organisation ${id}: a checkpoint has event ${checkpointSeq}, but it was deleted after event ${seq}`;
    if (checkpointSeq === seq && checkpointHash !== hash)
      yield `organisation ${id}: its last event was replaced before its deletion`;
  }
}

/** Returns the organisation that an event of the trail of the server says was deleted; undefined for other events. */
export function findDeletedId({ action, outcome, targetName }: AuditEvent): string | undefined {
  return action === 'DELETE_ORGANISATION' && outcome === 'OK' ? targetName?.slice(0, 36) : undefined;
}
