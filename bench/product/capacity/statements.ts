import type pg from 'pg';
import { median, table } from '../../peers/summary.ts';
import { target } from './requests.ts';

/** Statements that are faster than this in the big database are left out, in milliseconds. */
const shortestMs = 1;
/** The most statements in the table. */
const maxStatements = 25;

/** The durations of the statements of both databases. */
export interface StatementTimes {
  /** Formats the statements that take longest in proportion, or says that there are no figures. */
  report(): Promise<string>;
}

/** Begins to add up the durations of statements, if the library `pg_stat_statements` is loaded. */
export async function startStatements(
  client: pg.Client,
  databases: { small: string; big: string },
): Promise<StatementTimes> {
  const loaded = await client
    .query('create extension if not exists pg_stat_statements')
    .then(() =>
      client.query('select pg_stat_statements_reset(0, oid, 0) from pg_database where datname = any($1)', [
        Object.values(databases),
      ]),
    )
    .then(
      () => true,
      () => false,
    );
  const report = async () => {
    const { rows } = await client.query<{ query: string; calls: string; small: number; big: number }>(
      `select max(left(regexp_replace(b.query, '\\s+', ' ', 'g'), 160)) as query, sum(b.calls)::text as calls,
          sum(s.total_exec_time) / sum(s.calls) as small, sum(b.total_exec_time) / sum(b.calls) as big
        from pg_stat_statements b join pg_stat_statements s on s.query = b.query and s.userid = b.userid and s.toplevel = b.toplevel
        where b.dbid = (select oid from pg_database where datname = $2) and s.dbid = (select oid from pg_database where datname = $1)
        group by b.query having sum(b.total_exec_time) / sum(b.calls) >= ${shortestMs}
        order by (sum(b.total_exec_time) / sum(b.calls)) / greatest(sum(s.total_exec_time) / sum(s.calls), 0.1) desc limit ${maxStatements}`,
      [databases.small, databases.big],
    );
    return table(
      ['statement', 'calls', 'small, ms', 'big, ms', 'big ÷ small', 'target'],
      rows.map(({ query, calls, small, big }) => [
        `\`${query.replaceAll('|', '\\|')}\``,
        calls,
        small.toFixed(2),
        big.toFixed(2),
        (big / small).toFixed(1),
        target,
      ]),
    );
  };
  return {
    report: async () =>
      loaded ? report() : 'PostgreSQL has no `pg_stat_statements`, so the statements were not compared.',
  };
}

/** The bytes of each row of the tables, with their indexes and what is stored beside them. */
export async function measureSizes(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{
    name: string;
    count: string;
    table: string;
    indexes: string;
    bytes: string;
  }>(
    `select relname as name, reltuples::bigint::text as count, pg_table_size(oid)::float8 / reltuples as table,
        pg_indexes_size(oid)::float8 / reltuples as indexes, pg_total_relation_size(oid)::text as bytes
      from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace and reltuples >= 1000
      order by pg_total_relation_size(oid) desc`,
  );
  const round = (value: string) => Number(value).toFixed(0);
  return table(
    ['table', 'rows', 'bytes of a row', 'of its indexes', 'together', 'MiB in all'],
    rows.map((row) => [
      row.name,
      Number(row.count).toLocaleString('en'),
      round(row.table),
      round(row.indexes),
      round(String(Number(row.table) + Number(row.indexes))),
      (Number(row.bytes) / 2 ** 20).toFixed(0),
    ]),
  );
}

/** The median of some durations, in milliseconds, for a table. */
export function formatMedian(times: readonly number[]): string {
  return median([...times]).toFixed(0);
}
