import type { TestServer } from './server.ts';

/** A column of a table. */
export interface Column {
  name: string;
  type: string;
}

type Row = Record<string, unknown>;

const elsewhere = 'ffffffff-ffff-4fff-bfff-ffffffffffff';

/** Another value for a column, by its type; `$` is the column. */
const otherValues: Readonly<Record<string, string>> = {
  _text: `coalesce($, '{}') || '{access:admin}'`,
  _uuid: `coalesce($, '{}') || '{${elsewhere}}'`,
  bool: 'not coalesce($, false)',
  int4: 'coalesce($, 0) + 1',
  jsonb: `coalesce($, '{}') || '{"other":"value"}'`,
  text: `coalesce($, '') || 'x'`,
  timestamptz: `coalesce($ + interval '1 hour', now())`,
  uuid: 'gen_random_uuid()',
};

/**
 * Simulates an attacker who can write to the database past row-level security, foreign keys and triggers, and has no
 * encryption key.
 */
export function createDatabaseAttacker(server: TestServer) {
  const run = (sql: string, params: readonly unknown[] = []): Promise<Row[]> =>
    server.asOwner().execute(sql, [...params]);

  const columns = async (table: string): Promise<Column[]> => {
    const found = await run(
      `select column_name as name, udt_name as type from information_schema.columns
        where table_schema = 'public' and table_name = ? order by ordinal_position`,
      [table],
    );
    return found.map(({ name, type }) => ({ name: String(name), type: String(type) }));
  };

  /** Changes one column of an organisation's rows, runs the callback, and restores the rows. */
  const changing = async <T>(
    table: string,
    { name, type }: Column,
    orgId: string,
    look: () => Promise<T>,
  ): Promise<T> => {
    const other = otherValues[type];
    if (!other) throw new Error(`There is no other value for a ${type}.`);
    const value = name === 'org_id' ? `'${elsewhere}'` : other.replaceAll('$', `"${name}"`);
    const rows = await run(`select to_jsonb(t) as row from "${table}" t where org_id = ?`, [orgId]);
    if (rows.length === 0) throw new Error(`There is no row to change in ${table}.`);
    await run(`alter table "${table}" disable trigger all`);
    try {
      await run(`update "${table}" set "${name}" = ${value} where org_id = ?`, [orgId]);
      return await look();
    } finally {
      await run(`delete from "${table}" where org_id in (?)`, [[orgId, elsewhere]]);
      await run(`insert into "${table}" select * from jsonb_populate_recordset(null::"${table}", ?::jsonb)`, [
        JSON.stringify(rows.map(({ row }) => row)),
      ]);
      await run(`alter table "${table}" enable trigger all`);
    }
  };
  /** Saves a row, and returns a function that restores it. */
  const putBackLater = async (table: string, id: string): Promise<() => Promise<void>> => {
    const [{ row } = { row: {} }] = await run(`select to_jsonb(t) as row from "${table}" t where id = ?`, [
      id,
    ]);
    return async () => {
      await run(`alter table "${table}" disable trigger all`);
      await run(`delete from "${table}" where id = ?`, [id]);
      await run(`insert into "${table}" select * from jsonb_populate_record(null::"${table}", ?::jsonb)`, [
        JSON.stringify(row),
      ]);
      await run(`alter table "${table}" enable trigger all`);
    };
  };
  return Object.assign(run, { columns, changing, putBackLater });
}
