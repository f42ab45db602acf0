import { createHash } from 'node:crypto';
import { IsolationLevel } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { errorField } from '../common/error-field.ts';
import { StartupError } from '../common/errors.ts';
import { withoutStatementTimeout } from '../database/driver/session.ts';
import type { DataKey } from '../encryption/data-key.entity.ts';
import type { Authenticated, RowMacs } from '../encryption/row-macs.ts';
import type { Vault } from '../encryption/vault.ts';
import { type ExportKeys, fingerprint } from './export-key.ts';
import type { MovedTable } from './tables.ts';

/** How many rows are read or stored at once. */
export const batchRows = 500;

/** What a row contains, in a form that is the same in every database. */
export interface RowContent {
  /**
   * The columns as JSON of PostgreSQL, which writes equal rows equally; without the MAC, and without how a data key is wrapped,
   * because each database has its own. It is not parsed and formatted again, which would round large numbers.
   */
  text: string;
  /** Of a data key; empty if it is destroyed. */
  fingerprint?: string | undefined;
}

/** A row as it is stored. */
export interface StoredRow extends RowContent {
  mac?: string;
  wrapped?: string;
  rootKeyId?: string;
}

/** The number of rows of a table, and a hash of their contents in the order of the primary key. */
export interface TableSum {
  rows: number;
  /** SHA-256 in hex. */
  hash: string;
}

/** Adds up the rows of a table. */
export class TableSummer {
  readonly #hash = createHash('sha256');
  #rows = 0;

  add(row: RowContent): void {
    this.#hash.update(`${formatContent(row)}\n`);
    this.#rows += 1;
  }

  sum(): TableSum {
    return { rows: this.#rows, hash: this.#hash.copy().digest('hex') };
  }
}

/** Returns a text that is equal for rows with equal contents only. */
export function formatContent({ text, fingerprint: mark }: RowContent): string {
  return mark === undefined ? text : `${text} ${mark}`;
}

/** Names a row in messages: its table and its primary key. */
export function describeRow({ name, key }: MovedTable, { text }: RowContent): string {
  const row: Record<string, unknown> = JSON.parse(text);
  return `${name} ${JSON.stringify(Object.fromEntries(key.map((column) => [column, row[column]])))}`;
}

/**
 * Runs a task that reads rows in one transaction, in which times have one form. It sees the database as it was at the first statement.
 *
 * @param em a transaction begins on it
 */
export function inSnapshot<T>(em: EntityManager, task: (em: EntityManager) => Promise<T>): Promise<T> {
  // PGlite ignores them: it has one connection, so nothing changes meanwhile.
  const options = { isolationLevel: IsolationLevel.REPEATABLE_READ, readOnly: true };
  const run = async (tx: EntityManager) => {
    await prepareTransaction(tx);
    return task(tx);
  };
  return withoutStatementTimeout(() => em.transactional(run, options));
}

/** PostgreSQL's `foreign_key_violation`. */
const foreignKeyViolation = '23503';

/**
 * Runs a task that stores rows in one transaction, in which times have one form.
 *
 * @throws StartupError if rows to which the others refer are no longer here
 */
export async function inTransaction(
  em: EntityManager,
  task: (em: EntityManager) => Promise<unknown>,
): Promise<void> {
  const run = async (tx: EntityManager) => {
    await prepareTransaction(tx);
    await task(tx);
  };
  try {
    await withoutStatementTimeout(() => em.transactional(run));
  } catch (error) {
    if (errorField(error, 'code') !== foreignKeyViolation) throw error;
    throw new StartupError(
      'an organisation was deleted here meanwhile, or another import with --replace-unfinished deletes what this one stores; try it with --dry-run',
    );
  }
}

/** Lets a transaction take its time, and gives times one form in it. */
async function prepareTransaction(em: EntityManager): Promise<void> {
  await em.execute(`select set_config('timezone', 'UTC', true), set_config('statement_timeout', '0', true)`);
}

/** The columns of `StoredRow` in SQL. */
function selectList({ name, entity }: MovedTable): string {
  if (name === 'data_key')
    return `(to_jsonb(t) - 'mac' - 'wrapped' - 'root_key_id')::text as text, mac, wrapped, root_key_id as "rootKeyId"`;
  return entity ? `(to_jsonb(t) - 'mac')::text as text, mac` : 'to_jsonb(t)::text as text';
}

/**
 * Reads the rows of an organisation in batches, in the order of the primary key.
 *
 * @param em in a transaction of `inSnapshot`, or after `prepareTransaction`
 */
export async function* readRows(
  em: EntityManager,
  table: MovedTable,
  orgId: string,
): AsyncGenerator<StoredRow[]> {
  const order = table.key.map((column) =>
    table.textKeys?.includes(column) ? `"${column}" collate "C"` : `"${column}"`,
  );
  const cursor = `moved_${table.name}`;
  await em.execute(
    `declare ${cursor} no scroll cursor for select ${selectList(table)} from "${table.name}" t
      where ${table.organisation} = '${orgId}'::uuid order by ${order.join(', ')}`,
  );
  for (let isLast = false; !isLast; ) {
    const rows = await em.execute<StoredRow[]>(`fetch ${batchRows} from ${cursor}`);
    if (rows.length > 0) yield rows;
    isLast = rows.length < batchRows;
  }
  await em.execute(`close ${cursor}`);
}

/**
 * Finds the stored rows with the primary keys of some rows, or with their value of the unique column.
 *
 * @param em as for `readRows`
 */
export function findRows(
  em: EntityManager,
  table: MovedTable,
  rows: readonly RowContent[],
): Promise<StoredRow[]> {
  const { name, key, unique } = table;
  const keys = key.map((column) => `"${column}"`).join(', ');
  const given = `jsonb_populate_recordset(null::"${name}", (select rows from given))`;
  return em.execute<StoredRow[]>(
    `with given as materialized (select ?::jsonb as rows)
      select ${selectList(table)} from "${name}" t where (${keys}) in (select ${keys} from ${given})
      ${unique ? `or "${unique}" in (select "${unique}" from ${given})` : ''}`,
    [`[${rows.map(({ text }) => text).join(',')}]`],
  );
}

/**
 * Adds the fingerprints to data keys.
 *
 * @throws DecryptionError if one does not open
 * @throws KmsUnavailableError
 */
export async function withFingerprints(
  vault: Vault,
  keys: ExportKeys,
  table: MovedTable,
  rows: readonly StoredRow[],
): Promise<readonly StoredRow[]> {
  if (table.name !== 'data_key') return rows;
  return Promise.all(
    rows.map(async (row) => {
      const key = await openStoredKey(vault, row);
      return { ...row, fingerprint: key ? fingerprint(keys, key.export()) : '' };
    }),
  );
}

/** @returns undefined if the data key is destroyed */
export async function openStoredKey(vault: Vault, { text, wrapped = '', rootKeyId = '' }: StoredRow) {
  if (rootKeyId === '') return undefined;
  const { id, org_id: orgId, purpose } = JSON.parse(text);
  return vault.dataKeys.open({ id, orgId, purpose, wrapped, rootKeyId } as DataKey);
}

/** Whether the MAC of a row matches; true for rows without one. */
export function isAuthentic(em: EntityManager, macs: RowMacs, table: MovedTable, row: StoredRow): boolean {
  const { entity } = table;
  return !entity || macs.matches(em, entity, toEntity(em, entity, row));
}

/** Returns the row as JSON for an insert, with the MAC of this database. */
export function signRow(em: EntityManager, macs: RowMacs, { entity }: MovedTable, row: StoredRow): string {
  if (!entity) return row.text;
  const { mac } = macs.signed(em, entity, toEntity(em, entity, { ...row, mac: '' }));
  const { wrapped, rootKeyId } = row;
  const added = JSON.stringify({ mac, ...(wrapped !== undefined && { wrapped, root_key_id: rootKeyId }) });
  return `${row.text.slice(0, -1)}, ${added.slice(1)}`;
}

function toEntity(
  em: EntityManager,
  entity: NonNullable<MovedTable['entity']>,
  { text, mac, wrapped, rootKeyId }: StoredRow,
): Authenticated {
  const row = { ...JSON.parse(text), mac, ...(wrapped !== undefined && { wrapped, root_key_id: rootKeyId }) };
  return em.fork().map(entity, row);
}
