import type { EntityManager } from '@mikro-orm/postgresql';
import { operatorActor } from '../administration/organisations.ts';
import { assertIntactTrail } from '../audit/broken-trail.ts';
import { appendEvent } from '../audit/hash-chain.ts';
import { StartupError } from '../common/errors.ts';
import type { Database } from '../database/database.ts';
import type { Vault } from '../encryption/vault.ts';
import { unattributedOrgId } from '../identity/organisations.ts';
import {
  deletedHere,
  discardUnfinishedImport,
  isDeleted,
  lockEndOfImport,
  mayStoreRows,
} from './discard-import.ts';
import { openDataKey } from './export-key.ts';
import type { ExportedOrganisation } from './export-organisations.ts';
import { assertNotNewer } from './newer-database.ts';
import { type PlannedOrganisation, planImport, readBatches } from './plan-import.ts';
import { type ExportedRow, type ExportFile, hashFile, openExport } from './read-export.ts';
import {
  describeRow,
  findRows,
  inSnapshot,
  inTransaction,
  isAuthentic,
  readRows,
  type StoredRow,
  signRow,
  TableSummer,
  withFingerprints,
} from './rows.ts';
import { type MovedTable, movedTables } from './tables.ts';

/** What to import. */
export interface ImportRequest {
  path: string;
  /** The SHA-256 of the file in hex, as the export has printed it. */
  sha256?: string | undefined;
  /** Compares only. */
  isDryRun: boolean;
  /** Deletes first what an unfinished import has stored of an organisation of the file. */
  replaceUnfinished: boolean;
  /** The user and the machine of the command. */
  requestedBy: string;
}

/** What an import has done with an organisation. */
export interface ImportedOrganisation extends PlannedOrganisation {
  /** `conflict`: nothing of it was imported. `unchanged`: all of it was here. */
  result: 'imported' | 'importable' | 'unchanged' | 'conflict';
}

interface Deps {
  database: Database;
  vault: Vault;
  rootKeyLocation: string;
}

/**
 * Imports the organisations of an export, each in batches, and compares counts and hashes of all tables at the end. An import that was
 * interrupted goes on where it was: rows that are here are not stored again. Rows with other content are not replaced; then nothing of
 * their organisation is stored.
 *
 * @throws StartupError with one sentence if the file cannot be used, or the database has changed meanwhile
 * @throws KmsUnavailableError
 */
export async function importFile(deps: Deps, request: ImportRequest): Promise<ImportedOrganisation[]> {
  const { path, isDryRun, replaceUnfinished } = request;
  await assertNotNewer(deps.database);
  await using file = await openExport(deps.database.asSystem(), deps.vault, path, deps.rootKeyLocation);
  await assertOrigin(file, request.sha256);
  const results = (await planImport(deps, file, replaceUnfinished)).map(
    (plan): ImportedOrganisation => ({ ...plan, result: findResult(plan) }),
  );
  if (isDryRun) return results;
  for (const each of results.filter(isImportable)) {
    if (each.replacesUnfinished) await discardUnfinishedImport(deps.database, each.organisation.id);
  }
  const due = new Set(results.filter(isImportable).map(({ organisation }) => organisation.id));
  if (due.size > 0) await storeOrganisations(deps, file, due, request.requestedBy);
  for (const each of results) {
    if (isImportable(each)) each.result = 'imported';
    else if (each.result === 'unchanged')
      await inSnapshot(deps.database.asSystem(), (em) => assertSums(em, deps, file, each.organisation));
  }
  return results;
}

function isImportable({ result }: ImportedOrganisation): boolean {
  return result === 'importable';
}

function findResult({ organisation, existing, conflicts }: PlannedOrganisation) {
  if (conflicts.length > 0) return 'conflict';
  return existing === countRows(organisation) ? 'unchanged' : 'importable';
}

/** Counts the rows of an organisation in an export. */
export function countRows({ tables }: ExportedOrganisation): number {
  return Object.values(tables).reduce((total, { rows }) => total + rows, 0);
}

/** Anyone who knows a recipient can make a file for it. Only the hash shows that the file comes from the export that printed it. */
async function assertOrigin(file: ExportFile, sha256: string | undefined): Promise<void> {
  if (sha256 === undefined) {
    if (!('recipient' in file.keys.header.secret)) return;
    throw new StartupError(
      'it is encrypted for a recipient, and anyone can do that; give the SHA-256 that the export has printed: --sha256 HEX',
    );
  }
  if ((await hashFile(file)) !== sha256.toLowerCase())
    throw new StartupError('its SHA-256 is another one than --sha256; it is not the file of that export');
}

async function storeOrganisations(
  deps: Deps,
  file: ExportFile,
  due: ReadonlySet<string>,
  requestedBy: string,
): Promise<void> {
  const { database } = deps;
  let opening: Batch[] = [];
  let closing: Batch[] = [];
  const storeOpening = async (orgId: string) => {
    if (opening.length > 0)
      await inTransaction(database.asSystem(), async (em) => {
        await store(em, deps, file, { orgId, batches: opening });
        if (await isDeleted(em, orgId)) throw new StartupError(`organisation ${orgId}: ${deletedHere}`);
      });
    if (opening.length > 0) database.announce(database.asSystem(), orgId);
    opening = [];
  };
  for await (const batch of readBatches(file)) {
    const orgId = 'organisation' in batch ? batch.organisation.id : batch.orgId;
    if (!due.has(orgId)) continue;
    if ('organisation' in batch) {
      await storeOpening(orgId);
      const { organisation } = batch;
      await inTransaction(database.asSystem(), async (em) => {
        await lockEndOfImport(em);
        const stored = await store(em, deps, file, { orgId, batches: closing });
        await assertSums(em, deps, file, organisation);
        await assertIntactTrail(em, deps.vault, orgId);
        // Another import of the file has stored it meanwhile.
        if (stored === 0) return;
        await appendEvent(em, deps, {
          ...operatorActor,
          orgId: unattributedOrgId,
          action: 'IMPORT_ORGANISATION',
          targetName: `${orgId} "${organisation.name}", by ${requestedBy}`,
          outcome: 'OK',
        });
        database.announce(em, orgId);
      });
      closing = [];
    } else if (batch.table.stage === 'opening') opening.push(batch);
    else if (batch.table.stage === 'closing') closing.push(batch);
    else {
      await storeOpening(orgId);
      const em = batch.table.insertedBy === 'tenant' ? database.forOrganisation(orgId) : database.asSystem();
      await inTransaction(em, (tx) => store(tx, deps, file, { orgId, batches: [batch] }));
    }
  }
}

interface Batch {
  table: MovedTable;
  rows: ExportedRow[];
}

/**
 * Stores the rows that are not here, and returns their number. Another import may store the same ones at the same time, and may have
 * finished the organisation.
 */
async function store(
  em: EntityManager,
  deps: Deps,
  file: ExportFile,
  { orgId, batches }: { orgId: string; batches: readonly Batch[] },
): Promise<number> {
  if (!(await mayStoreRows(em, orgId))) return 0;
  const macs = await deps.vault.rowMacs(em);
  let stored = 0;
  for (const { table, rows } of batches) {
    const found = new Set((await findRows(em, table, rows)).map((row) => describeRow(table, row)));
    const missing = rows.filter((row) => !found.has(describeRow(table, row)));
    if (missing.length === 0) continue;
    const wrapped = await Promise.all(missing.map((row) => wrapDataKey(deps, file, row)));
    const signed = wrapped.map((row) => signRow(em, macs, table, row));
    const { affectedRows } = await em.execute<{ affectedRows: number }>(
      `insert into "${table.name}" select * from jsonb_populate_recordset(null::"${table.name}", ?::jsonb)
        on conflict do nothing`,
      [`[${signed.join(',')}]`],
      'run',
    );
    stored += affectedRows;
  }
  return stored;
}

/** Wraps a data key under the primary root key of this database. Other rows stay as they are. */
async function wrapDataKey({ vault }: Deps, { keys }: ExportFile, row: ExportedRow): Promise<StoredRow> {
  if (row.key === undefined) return row;
  const destroyed = { wrapped: '', rootKeyId: '' };
  if (row.key === '') return { ...row, ...destroyed };
  const { id, org_id: orgId, purpose } = JSON.parse(row.text);
  const binding = { id, orgId, purpose };
  const key = await openDataKey(keys, row.key, binding);
  return { ...row, ...(await vault.dataKeys.keyring.wrap(key, binding)) };
}

/** Compares what is stored with the export, and verifies the MACs. */
async function assertSums(
  em: EntityManager,
  { vault }: Deps,
  { keys }: ExportFile,
  { id, tables }: ExportedOrganisation,
): Promise<void> {
  const macs = await vault.rowMacs(em);
  for (const table of movedTables) {
    const summer = new TableSummer();
    for await (const rows of readRows(em, table, id)) {
      for (const row of await withFingerprints(vault, keys, table, rows)) {
        if (!isAuthentic(em, macs, table, row))
          throw new StartupError(`${describeRow(table, row)}: changed by something other than this server`);
        summer.add(row);
      }
    }
    const [here, there] = [summer.sum(), tables[table.name]];
    if (here.rows !== there?.rows || here.hash !== there.hash)
      throw new StartupError(
        `organisation ${id}: ${table.name} has ${here.rows} rows (SHA-256 ${here.hash}), and the export ${there?.rows} (${there?.hash}); the organisation was used here since it was imported, an unfinished import of another export has left rows, which --replace-unfinished deletes, or another program has changed it`,
      );
  }
}
