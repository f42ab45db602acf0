import type { EntityProperty, MikroORM } from '@mikro-orm/postgresql';
import { type Logger, timed } from '../common/log.ts';
import { queryPool } from './driver/query-pool.ts';
import {
  inSession,
  organisationsSession,
  type Session,
  scanSession,
  tenantSession,
} from './driver/session.ts';
import type { Pool } from './driver/types.ts';
import { type Sql, sql } from './sql.ts';

/** The entity class of the rows. */
export type RowClass<Entity> = new () => Entity;

/**
 * Reads rows without hydrating entities, which takes several times as long. A row has the properties of its entity except
 * lazy ones, and its changes are not tracked. Row-level security limits rows to the organisation.
 */
export interface RowReader {
  /** @param rest the SQL after the table, such as `where …`, with names of columns */
  select<Entity extends object, Extra extends object = object>(
    entity: RowClass<Entity>,
    orgId: string,
    rest: Sql,
    options?: SelectOptions<Entity>,
  ): Promise<(Entity & Extra)[]>;
  /**
   * Reads rows of several organisations. A row may be of any of them, so the caller compares `orgId`.
   *
   * @param source a call of a function that applies row-level security for each organisation
   */
  selectOfOrganisations<Entity extends object>(entity: RowClass<Entity>, source: Sql): Promise<Entity[]>;
  count(entity: RowClass<object>, orgId: string, rest: Sql): Promise<number>;
}

/** Options of `RowReader.select`. */
export interface SelectOptions<Entity> {
  /** Plans for these values. PostgreSQL may reuse a generic plan for a prepared statement. */
  skipPreparedPlan?: boolean;
  /** Reads a range of an index in its order: PostgreSQL does not sort, and the time-out is two seconds. */
  isScan?: boolean;
  /** The properties to read, by default all that are not lazy. Pass the same array each time: it is a cache key. */
  properties?: readonly (keyof Entity)[];
  /** Additional columns, which must have names. */
  extra?: Sql;
}

/** Creates the row reader of a database. */
export function createRowReader(orm: MikroORM, isEmbedded: boolean, log: Logger): RowReader {
  const run = async (session: Session, query: Sql, skipPreparedPlan = false) => {
    const connection = orm.em.getConnection();
    const compiled = query.compile(connection.getClient());
    const { sql: text, parameters: values } = compiled;
    log.trace(text);
    if (isEmbedded) {
      const execute = () => connection.getClient().executeQuery(compiled);
      const { rows } = await timed('database', () => inSession(session, execute));
      return rows as Record<string, unknown>[];
    }
    const pool: Pool = await connection.getNativeClient();
    const statement = skipPreparedPlan ? { text, values } : text;
    const { rows } = await queryPool(pool, session, statement, values);
    return rows as Record<string, unknown>[];
  };
  const tables = new Map<RowClass<object> | SelectedProperties, Table>();
  const getTable = (entity: RowClass<object>, properties?: SelectedProperties) => {
    const table = tables.get(properties ?? entity) ?? describeTable(orm, entity, properties);
    tables.set(properties ?? entity, table);
    return table;
  };
  return {
    async select(entity, orgId, rest, { properties, extra, isScan, skipPreparedPlan } = {}) {
      const { columns, name, dates } = getTable(entity, properties);
      const selected = extra ? sql`${columns}, ${extra}` : columns;
      const session = isScan ? scanSession(orgId) : tenantSession(orgId);
      const query = sql`select ${selected} from ${name} ${rest}`;
      return parseDates(await run(session, query, skipPreparedPlan || isScan), dates) as never;
    },
    async selectOfOrganisations(entity, source) {
      const { columns, dates } = getTable(entity);
      const rows = await run(organisationsSession, sql`select ${columns} from ${source}`);
      return parseDates(rows, dates) as never;
    },
    async count(entity, orgId, rest) {
      const { name } = getTable(entity);
      const query = sql`select count(*)::int as count from ${name} ${rest}`;
      const [row] = await run(tenantSession(orgId), query, true);
      return Number(row?.count);
    },
  };
}

/** Replaces the texts of timestamps, in place. */
function parseDates(rows: Record<string, unknown>[], dates: readonly string[]) {
  for (const row of rows) {
    for (const date of dates) if (row[date] !== null) row[date] = new Date(String(row[date]));
  }
  return rows;
}

interface Table {
  name: Sql;
  columns: Sql;
  /** Properties that are timestamps and arrive as text. */
  dates: string[];
}

/** Properties of one entity. */
type SelectedProperties = readonly PropertyKey[];

function describeTable(orm: MikroORM, entity: RowClass<object>, properties?: SelectedProperties): Table {
  const { tableName, props } = orm.getMetadata().get(entity);
  const selected = props.filter(
    ({ lazy, persist, name }) => !lazy && persist !== false && (properties?.includes(name) ?? true),
  );
  const column = ({ fieldNames, name }: EntityProperty) => `"${fieldNames[0]}" as "${name}"`;
  return {
    name: sql.raw(`"${tableName}"`),
    columns: sql.raw(selected.map(column).join(', ')),
    dates: selected.filter(({ runtimeType }) => runtimeType === 'Date').map(({ name }) => name),
  };
}
