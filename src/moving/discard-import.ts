import type { EntityManager } from '@mikro-orm/postgresql';
import { deleteOrganisationRows, type Progress } from '../administration/organisation-rows.ts';
import { AuditHead } from '../audit/audit-event.entity.ts';
import { StartupError } from '../common/errors.ts';
import type { Database } from '../database/database.ts';
import { ApiKey } from '../identity/api-key.entity.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import { OrganisationDeletion } from '../identity/organisation-deletion.entity.ts';

/**
 * Whether an import has begun to store an organisation and has not finished it: the API keys and the end of its audit trail are stored
 * last. One that has API keys was in use, and has lost the end of its trail otherwise.
 */
export async function isImportUnfinished(em: EntityManager, orgId: string): Promise<boolean> {
  const isHere = (await em.count(Organisation, { id: orgId })) > 0;
  return isHere && (await em.count(AuditHead, { orgId })) + (await em.count(ApiKey, { orgId })) === 0;
}

/** Why an organisation that has been deleted here is not imported. */
export const deletedHere = 'it was deleted here, and its id is not used again';

/** Whether the deletion of an organisation has begun or ended here. */
export async function isDeleted(em: EntityManager, orgId: string): Promise<boolean> {
  return (await em.count(OrganisationDeletion, { id: orgId, startedAt: { $ne: null } })) > 0;
}

/** An arbitrary constant that all programs of this server share. */
export const importLock = 4_216_017_335;

/**
 * Holds an advisory lock until the transaction ends. The end of an import, which verifies that all rows are here, and the deletion of
 * what an unfinished one has stored exclude each other and `mayStoreRows` with it.
 */
export async function lockEndOfImport(em: EntityManager): Promise<void> {
  await em.execute(`select pg_advisory_xact_lock(${importLock})`);
}

/**
 * Whether an import may store rows of an organisation, until the transaction ends: not after another import has finished it, because
 * its users may have deleted rows since.
 */
export async function mayStoreRows(em: EntityManager, orgId: string): Promise<boolean> {
  await em.execute(`select pg_advisory_xact_lock_shared(${importLock})`);
  return (await em.count(AuditHead, { orgId })) === 0;
}

/**
 * Deletes everything that an unfinished import has stored of an organisation, in small transactions. What it does not finish, because
 * the process ends, the next call continues.
 *
 * @throws StartupError if another import has finished the organisation meanwhile
 */
export async function discardUnfinishedImport(database: Database, orgId: string): Promise<void> {
  const inBatch = (task: (em: EntityManager) => Promise<Progress>): Promise<Progress> =>
    database.asSystem().transactional(async (em) => {
      await lockEndOfImport(em);
      if ((await em.count(AuditHead, { orgId })) > 0)
        throw new StartupError(`organisation ${orgId}: another import has finished it meanwhile`);
      return task(em);
    });
  await deleteOrganisationRows(inBatch, orgId);
  await inBatch(async (em) => {
    await em.execute('delete from data_key where org_id = ?', [orgId], 'run');
    await em.execute('delete from organisation where id = ?', [orgId], 'run');
    return 'done';
  });
}
