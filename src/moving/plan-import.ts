import type { EntityManager } from '@mikro-orm/postgresql';
import type { Database } from '../database/database.ts';
import type { Vault } from '../encryption/vault.ts';
import { OrganisationDeletion } from '../identity/organisation-deletion.entity.ts';
import { isImportUnfinished } from './discard-import.ts';
import type { ExportedOrganisation } from './export-organisations.ts';
import { type ExportedRow, type ExportFile, type ExportItem, readExport } from './read-export.ts';
import { batchRows, describeRow, findRows, formatContent, inSnapshot, withFingerprints } from './rows.ts';
import { damagedFile } from './sealed-stream.ts';
import type { MovedTable } from './tables.ts';

/** The most conflicts of an organisation that are named. */
const maxConflicts = 20;

/** What an import would do with an organisation. */
export interface PlannedOrganisation {
  organisation: ExportedOrganisation;
  /** The number of rows that are in the database already, with the same content. */
  existing: number;
  /** One line for each row that is in the database with other content. */
  conflicts: string[];
  /** What an unfinished import has stored of the organisation is deleted first. */
  replacesUnfinished: boolean;
}

interface Stores {
  database: Database;
  vault: Vault;
}

/**
 * Reads a whole export, compares it with the database, and changes nothing.
 *
 * @param replaceUnfinished whether an organisation whose import is not finished is imported anew
 * @throws StartupError if the export was changed, or is incomplete
 */
export async function planImport(
  stores: Stores,
  file: ExportFile,
  replaceUnfinished: boolean,
): Promise<PlannedOrganisation[]> {
  const plans: PlannedOrganisation[] = [];
  let existing = 0;
  let conflicts: string[] = [];
  for await (const batch of readBatches(file)) {
    if ('organisation' in batch) {
      const { organisation } = batch;
      const em = stores.database.asSystem();
      const isUnfinished = await isImportUnfinished(em, organisation.id);
      const replacesUnfinished = isUnfinished && replaceUnfinished;
      if (replacesUnfinished) [existing, conflicts] = [0, []];
      conflicts.push(...(await findDeletion(em, organisation.id)));
      if (isUnfinished && conflicts.length > 0) conflicts.unshift(unfinishedImport);
      conflicts = conflicts.slice(0, maxConflicts);
      plans.push({ organisation, existing, conflicts, replacesUnfinished });
      existing = 0;
      conflicts = [];
    } else {
      const compared = await compare(stores, file, batch.table, batch.rows);
      existing += compared.existing;
      conflicts.push(...compared.conflicts.slice(0, maxConflicts));
    }
  }
  return plans;
}

/** Rows of one table of an organisation, or the end of the organisation. */
export type ExportBatch =
  | { orgId: string; table: MovedTable; rows: ExportedRow[] }
  | { organisation: ExportedOrganisation };

/** Reads the rows of an export in batches. */
export async function* readBatches(file: ExportFile): AsyncGenerator<ExportBatch> {
  let orgId = '';
  let rows: ExportedRow[] = [];
  const take = (): ExportBatch[] => {
    const [first] = rows;
    const batch = first ? [{ orgId, table: first.table, rows }] : [];
    rows = [];
    return batch;
  };
  for await (const item of readExport(file)) {
    if (isBoundary(item, rows)) yield* take();
    if (item.kind === 'begin') orgId = item.id;
    else if (item.kind === 'end') yield { organisation: item.organisation };
    else {
      // The rows of one organisation are stored as the system, which sees all.
      if (JSON.parse(item.row.text)[item.row.table.organisation] !== orgId) throw damagedFile();
      rows.push(item.row);
    }
  }
}

function isBoundary(item: ExportItem, rows: readonly ExportedRow[]): boolean {
  return item.kind !== 'row' || rows.at(0)?.table !== item.row.table || rows.length === batchRows;
}

async function compare(
  { database, vault }: Stores,
  { keys }: ExportFile,
  table: MovedTable,
  rows: readonly ExportedRow[],
): Promise<{ existing: number; conflicts: string[] }> {
  const found = await inSnapshot(database.asSystem(), (em) => findRows(em, table, rows));
  const stored = new Map(
    (await withFingerprints(vault, keys, table, found)).map((row) => [describeRow(table, row), row]),
  );
  const conflicts: string[] = [];
  let existing = 0;
  for (const row of rows) {
    const name = describeRow(table, row);
    const same = stored.get(name);
    stored.delete(name);
    if (!same) continue;
    if (formatContent(same) === formatContent(row)) existing += 1;
    else conflicts.push(`${name} is here with other content`);
  }
  for (const name of stored.keys())
    conflicts.push(`${name} is here with the ${table.unique} of another row of the export`);
  return { existing, conflicts };
}

const unfinishedImport =
  'an import of another export of it was not finished here; import that file again, or this one with --replace-unfinished';

async function findDeletion(em: EntityManager, id: string): Promise<string[]> {
  const deletion = await em.findOne(OrganisationDeletion, { id, startedAt: { $ne: null } });
  return deletion ? ['it was deleted here, and its id is not used again'] : [];
}
