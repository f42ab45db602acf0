import { type AuditDeps, appendEvents } from '../../audit/hash-chain.ts';
import { hasTrailSql } from '../../audit/trail-head.ts';
import { AppError } from '../../common/errors.ts';
import { cleanUpBatchRows, runCleanUpBatch } from '../../database/delete-in-batches.ts';
import { MacMismatch } from '../../encryption/row-macs.ts';
import { retentionEnd } from './delete-and-restore.ts';

/** A deleted connection that can no longer be restored. */
interface Expired {
  id: string;
  orgId: string;
  deletedAt: string;
}

/** The columns of a purged row that its audit event has. */
interface Purged {
  id: string;
  name: string;
  projectId: string | null;
}

/** The dependencies of the purge. */
export type PurgeDeps = AuditDeps & { deletedRetentionDays: number };

/**
 * Removes every connection that can no longer be restored, with an audit event for each. A transaction removes at most
 * `cleanUpBatchRows` connections of one organisation. Credentials are not read. Stops if `signal` aborts, or if another
 * server is cleaning up.
 */
export async function purgeExpired(dependencies: PurgeDeps, signal?: AbortSignal): Promise<void> {
  const before = retentionEnd(dependencies.deletedRetentionDays);
  let last: Expired | undefined;
  while (!signal?.aborted) {
    const expired = await findExpired(dependencies, before, last);
    for (const [orgId, expiredOfOrg] of Map.groupBy(expired, (connection) => connection.orgId)) {
      if (signal?.aborted) return;
      const ids = expiredOfOrg.map(({ id }) => id);
      const isDone = await purge(dependencies, orgId, ids, before).catch((error: unknown) => {
        // The audit trail of this organisation cannot be continued, which the log says, or the organisation is being deleted.
        if (error instanceof MacMismatch || error instanceof AppError) return true;
        throw error;
      });
      if (!isDone) return;
    }
    last = expired.at(-1);
    if (expired.length < cleanUpBatchRows) return;
  }
}

/** Reads the next batch after `last`, in the order of an index. */
async function findExpired(
  { database }: PurgeDeps,
  before: Date,
  last: Expired | undefined,
): Promise<Expired[]> {
  return database.asSystem().execute<Expired[]>(
    `select id, org_id as "orgId", deleted_at::text as "deletedAt" from app_connection
     where deleted_at <= ? and ${hasTrailSql('app_connection.org_id')} ${last ? 'and (deleted_at, id) > (?::timestamptz, ?::uuid)' : ''}
     order by deleted_at, id limit ${cleanUpBatchRows}`,
    [before, ...(last ? [last.deletedAt, last.id] : [])],
  );
}

/** @returns false if another server is cleaning up */
async function purge(dependencies: PurgeDeps, orgId: string, ids: string[], before: Date): Promise<boolean> {
  const purged = await runCleanUpBatch(dependencies.database.forOrganisation(orgId), async (em) => {
    // Concurrent requests may have restored or purged some of them, or hold their locks.
    const rows = await em.execute<Purged[]>(
      `delete from app_connection where org_id = ? and id in (
         select id from app_connection where id in (?) and org_id = ? and deleted_at <= ? for update skip locked)
       returning id, name, project_id as "projectId"`,
      [orgId, ids, orgId, before],
    );
    if (rows.length === 0) return rows;
    const common = {
      orgId,
      action: 'PURGE_CONNECTION',
      outcome: 'OK',
      fields: ['deletedAt'],
      keyId: null,
      subject: null,
      address: null,
      requestId: null,
    } as const;
    const events = rows.map(({ id, name, projectId }) => ({
      ...common,
      fields: [...common.fields],
      connectionId: id,
      connectionName: name,
      projectId,
    }));
    await appendEvents(em, dependencies, orgId, events);
    return rows;
  });
  return purged !== undefined;
}
