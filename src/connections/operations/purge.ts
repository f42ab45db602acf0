import { type AuditDeps, appendEvents } from '../../audit/hash-chain.ts';
import { cleanUpBatchRows, runInTransaction } from '../../database/delete-in-batches.ts';
import { MacMismatch } from '../../encryption/row-macs.ts';
import { retentionEnd } from './delete-and-restore.ts';

/** A deleted connection that can no longer be restored. */
interface Expired {
  id: string;
  orgId: string;
  deletedAt: string;
}

/** A row that was removed, as far as its audit event tells. */
interface Purged {
  id: string;
  name: string;
  projectId: string | null;
}

/** What a purge needs. */
export type PurgeDependencies = AuditDeps & { deletedRetentionDays: number };

/**
 * Removes every connection that can no longer be restored, and adds an audit event for each. One transaction removes at
 * most `cleanUpBatchRows` connections of one organisation, and no credentials are read. Ends early when `signal` aborts,
 * or when another server cleans up.
 */
export async function purgeExpired(dependencies: PurgeDependencies, signal?: AbortSignal): Promise<void> {
  const before = retentionEnd(dependencies.deletedRetentionDays);
  let last: Expired | undefined;
  while (!signal?.aborted) {
    const expired = await findExpired(dependencies, before, last);
    for (const [orgId, expiredOfOne] of Map.groupBy(expired, (one) => one.orgId)) {
      if (signal?.aborted) return;
      const ids = expiredOfOne.map(({ id }) => id);
      const isDone = await purge(dependencies, orgId, ids, before).catch((error: unknown) => {
        // One organisation's trail that cannot be continued, as the log says, is no reason to keep what is another's.
        if (error instanceof MacMismatch) return true;
        throw error;
      });
      if (!isDone) return;
    }
    last = expired.at(-1);
    if (expired.length < cleanUpBatchRows) return;
  }
}

/** The next ones after `last`, in an order that an index has. */
async function findExpired(
  { database }: PurgeDependencies,
  before: Date,
  last: Expired | undefined,
): Promise<Expired[]> {
  return database.asSystem().execute<Expired[]>(
    `select id, org_id as "orgId", deleted_at::text as "deletedAt" from app_connection
     where deleted_at <= ? ${last ? 'and (deleted_at, id) > (?::timestamptz, ?::uuid)' : ''}
     order by deleted_at, id limit ${cleanUpBatchRows}`,
    [before, ...(last ? [last.deletedAt, last.id] : [])],
  );
}

/** @returns whether it was this server's turn */
async function purge(
  dependencies: PurgeDependencies,
  orgId: string,
  ids: string[],
  before: Date,
): Promise<boolean> {
  const purged = await runInTransaction(dependencies.database.forOrganisation(orgId), async (em) => {
    // Others may have restored or purged some of them meanwhile, or be about to.
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
      ...{ keyId: null, subject: null, address: null, requestId: null },
    } as const;
    const events = rows.map(({ id, name, projectId }) => ({
      ...{ ...common, fields: [...common.fields] },
      ...{ connectionId: id, connectionName: name, projectId },
    }));
    await appendEvents(em, dependencies, orgId, events);
    return rows;
  });
  return purged !== undefined;
}
