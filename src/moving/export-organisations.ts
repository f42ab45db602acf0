import type { EntityManager } from '@mikro-orm/postgresql';
import { assertIntactTrail } from '../audit/broken-trail.ts';
import type { AuditDeps } from '../audit/hash-chain.ts';
import { StartupError } from '../common/errors.ts';
import { DecryptionError } from '../encryption/jwe.ts';
import type { RowMacs } from '../encryption/row-macs.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import { unattributedOrgId } from '../identity/organisations.ts';
import { findBegunDeletions } from '../integrity/deletion-records.ts';
import { type ExportKeys, fingerprint, sealDataKey } from './export-key.ts';
import {
  describeRow,
  inSnapshot,
  isAuthentic,
  openStoredKey,
  readRows,
  type StoredRow,
  type TableSum,
  TableSummer,
} from './rows.ts';
import { type MovedTable, movedTables } from './tables.ts';

/** An organisation in an export. */
export interface ExportedOrganisation {
  id: string;
  name: string;
  /** The sums of its tables, by name. */
  tables: Record<string, TableSum>;
}

/** A line of an export. A row is `{"table":…,"row":…}`, in which `row` is the last member. */
export type ExportLine =
  | { begin: string; name: string }
  | { end: ExportedOrganisation }
  | { trailer: { organisations: number } };

/** Sends lines to a file, and waits while it cannot take more. */
export type WriteLine = (line: string) => Promise<void>;

/**
 * Writes organisations as lines of JSON, as they were at one moment, and verifies their MACs and audit trails: an import signs the rows
 * again, and must not make forged ones valid.
 *
 * @param orgIds absent: all, except those that are being deleted
 * @param isResealed whether the other side has other root keys
 * @throws StartupError that names the first row or event that was changed outside the server, or if there is no organisation
 * @throws KmsUnavailableError
 */
export function writeOrganisations(
  deps: AuditDeps,
  keys: ExportKeys,
  { orgIds, isResealed }: { orgIds: readonly string[] | undefined; isResealed: boolean },
  write: WriteLine,
): Promise<ExportedOrganisation[]> {
  const { database, vault } = deps;
  return inSnapshot(database.asSystem(), async (em) => {
    const macs = await vault.rowMacs(em);
    const deletions = await findBegunDeletions({ asSystem: () => em }, vault);
    const where = orgIds ? { id: { $in: [...orgIds] } } : { id: { $ne: unattributedOrgId } };
    const found = await em.find(Organisation, where, { orderBy: { id: 'asc' } });
    const exported: ExportedOrganisation[] = [];
    for (const { id, name } of found) {
      if (deletions.has(id)) {
        if (!orgIds) continue;
        throw new StartupError(`organisation ${id}: it is being deleted, and its keys are destroyed`);
      }
      await assertIntactTrail(em, vault, id, 'restore a backup, and export that');
      await write(JSON.stringify({ begin: id, name } satisfies ExportLine));
      const tables: ExportedOrganisation['tables'] = {};
      for (const table of movedTables)
        tables[table.name] = await writeTable(em, { deps, macs, keys, isResealed }, table, id, write);
      const organisation = { id, name, tables };
      await write(JSON.stringify({ end: organisation } satisfies ExportLine));
      exported.push(organisation);
    }
    if (exported.length === 0)
      throw new StartupError('the database has no organisation to export; check DATABASE_URL and DATA_DIR');
    await write(JSON.stringify({ trailer: { organisations: exported.length } } satisfies ExportLine));
    return exported;
  });
}

interface Context {
  deps: AuditDeps;
  macs: RowMacs;
  keys: ExportKeys;
  isResealed: boolean;
}

async function writeTable(
  em: EntityManager,
  context: Context,
  table: MovedTable,
  orgId: string,
  write: WriteLine,
): Promise<TableSum> {
  const summer = new TableSummer();
  for await (const rows of readRows(em, table, orgId)) {
    for (const row of rows) {
      if (!isAuthentic(em, context.macs, table, row))
        throw new StartupError(
          `${describeRow(table, row)}: changed by something other than this server; restore the row from a backup, and export again`,
        );
      if (table.name === 'data_key') {
        const { key, ...content } = await exportDataKey(context, row);
        summer.add(content);
        const members = JSON.stringify({ table: table.name, key, fingerprint: content.fingerprint });
        await write(`${members.slice(0, -1)},"row":${content.text}}`);
      } else {
        summer.add(row);
        await write(`{"table":"${table.name}","row":${row.text}}`);
      }
    }
  }
  return summer.sum();
}

/** Marks the id of a root key of another database, which this one may have too. */
const foreignRootKey = 'moved:';

async function exportDataKey({ deps, keys, isResealed }: Context, row: StoredRow) {
  const { id, org_id: orgId, purpose, made_under: madeUnder } = JSON.parse(row.text);
  // A former holder of that root key may know the data key. `keys rotate --reseal` replaces it.
  const marked = isResealed && !madeUnder.startsWith(foreignRootKey) ? foreignRootKey + madeUnder : madeUnder;
  const text = row.text.replace(`"made_under": "${madeUnder}"`, `"made_under": "${marked}"`);
  const opened = await openStoredKey(deps.vault, row).catch((error: unknown) => {
    if (!(error instanceof DecryptionError)) throw error;
    throw new StartupError(
      `data_key {"id":"${id}"}: it does not open; "app-connections doctor" says how to restore it`,
    );
  });
  if (!opened) return { text, key: '', fingerprint: '' };
  const key = sealDataKey(keys, opened, { id, orgId, purpose });
  return { text, key, fingerprint: fingerprint(keys, opened.export()) };
}
