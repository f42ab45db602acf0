import type { Database } from '../database/database.ts';
import type { Vault } from '../encryption/vault.ts';
import { deletedHere, isDeleted, isImportUnfinished } from './discard-import.ts';
import type { ExportedOrganisation } from './export-organisations.ts';
import { type ExportedRow, type ExportFile, type ExportItem, readExport } from './read-export.ts';
import {
  batchRows,
  describeRow,
  findRows,
  formatContent,
  inSnapshot,
  type StoredRow,
  withFingerprints,
} from './rows.ts';
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
  let found = nothing;
  for await (const batch of readBatches(file)) {
    if ('organisation' in batch) {
      const { organisation } = batch;
      const em = stores.database.asSystem();
      const isUnfinished = await isImportUnfinished(em, organisation.id);
      const replacesUnfinished = isUnfinished && replaceUnfinished;
      const existing = replacesUnfinished ? 0 : found.existing;
      const conflicts = [...found.foreign, ...(replacesUnfinished ? [] : found.own)];
      if (await isDeleted(em, organisation.id)) conflicts.push(deletedHere);
      if (isUnfinished && !replacesUnfinished && conflicts.length > 0) conflicts.unshift(unfinishedImport);
      plans.push({
        organisation,
        existing,
        conflicts: conflicts.slice(0, maxConflicts),
        replacesUnfinished,
      });
      found = nothing;
    } else {
      const { existing, foreign, own } = await compare(stores, file, batch);
      found = {
        existing: found.existing + existing,
        foreign: [...found.foreign, ...foreign].slice(0, maxConflicts),
        own: [...found.own, ...own].slice(0, maxConflicts),
      };
    }
  }
  return plans;
}

/** Rows of one table of an organisation. */
interface RowBatch {
  orgId: string;
  table: MovedTable;
  rows: ExportedRow[];
}

/** Rows of one table of an organisation, or the end of the organisation. */
export type ExportBatch = RowBatch | { organisation: ExportedOrganisation };

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

/** What is in the database already of an organisation in an export. */
interface Found {
  /** The number of rows with the same content. */
  existing: number;
  /** One line for each row of another organisation that has the place of one in the export. */
  foreign: readonly string[];
  /** One line for each row of the organisation with other content. */
  own: readonly string[];
}

const nothing: Found = { existing: 0, foreign: [], own: [] };

async function compare(
  { database, vault }: Stores,
  { keys }: ExportFile,
  { orgId, table, rows }: RowBatch,
): Promise<Found> {
  const found = await inSnapshot(database.asSystem(), (em) => findRows(em, table, rows));
  const stored = new Map(
    (await withFingerprints(vault, keys, table, found)).map((row) => [describeRow(table, row), row]),
  );
  const foreign: string[] = [];
  const own: string[] = [];
  const add = ({ text }: StoredRow, conflict: string) =>
    (JSON.parse(text)[table.organisation] === orgId ? own : foreign).push(conflict);
  let existing = 0;
  for (const row of rows) {
    const name = describeRow(table, row);
    const same = stored.get(name);
    stored.delete(name);
    if (!same) continue;
    if (formatContent(same) === formatContent(row)) existing += 1;
    else add(same, `${name} is here with other content`);
  }
  for (const [name, row] of stored)
    add(row, `${name} is here with the ${table.unique} of another row of the export`);
  return { existing, foreign, own };
}

const unfinishedImport =
  'an import of another export of it was not finished here; import that file again, or this one with --replace-unfinished';
