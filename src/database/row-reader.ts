import type { EntityProperty, MikroORM } from '@mikro-orm/postgresql';
import { CompiledQuery } from 'kysely';
import type { Logger } from '../common/log.ts';
import { queryPool } from './driver/pool.ts';
import { inSession, scanSession, tenantSession } from './driver/session.ts';
import type { Pool } from './driver/types.ts';
import { raw, type Sql, sql } from './sql.ts';

/** An entity class, of which rows are read. */
export type RowClass<Entity> = new () => Entity;

/**
 * Reads rows without making entities of them, which takes several times as long. They are as an entity is that was just
 * read, down to what is lazy and so not there; and nothing comes of changing them. PostgreSQL shows the rows of the
 * organisation and no others.
 */
export interface RowReader {
  /** @param rest all that comes after the table: `where …` and so on, by the names of columns */
  select<Entity extends object>(
    entity: RowClass<Entity>,
    orgId: string,
    rest: Sql,
    how?: SelectOptions<Entity>,
  ): Promise<Entity[]>;
  count(entity: RowClass<object>, orgId: string, rest: Sql): Promise<number>;
}

/** How rows are read, where that is not to be as usual. */
export interface SelectOptions<Entity> {
  /** For when the best plan depends on the values: PostgreSQL may keep one for what is prepared. */
  isPlannedAnew?: boolean;
  /** For a range of an index in its order: PostgreSQL never sorts, and gives up after two seconds. */
  isScan?: boolean;
  /** The properties that will be looked at, in the same list each time; all that are not lazy unless said. */
  only?: readonly (keyof Entity)[];
}

/** Rows of the database that `orm` is connected to. */
export function createRowReader(orm: MikroORM, isEmbedded: boolean, log: Logger): RowReader {
  const run = async (
    orgId: string,
    { text, values }: Sql,
    how: Pick<SelectOptions<object>, 'isPlannedAnew' | 'isScan'>,
  ) => {
    log.trace(text);
    const session = how.isScan ? scanSession(orgId) : tenantSession(orgId);
    const connection = orm.em.getConnection();
    if (isEmbedded) {
      const query = CompiledQuery.raw(text, [...values]);
      const { rows } = await inSession(session, () => connection.getClient().executeQuery(query));
      return rows as Record<string, unknown>[];
    }
    const pool: Pool = await connection.getNativeClient();
    const statement = how.isPlannedAnew || how.isScan ? { text, values } : text;
    const { rows } = await queryPool(pool, session, statement, values);
    return rows as Record<string, unknown>[];
  };
  const tables = new Map<RowClass<object> | SelectedColumns, Table>();
  const tableOf = (entity: RowClass<object>, only?: SelectedColumns) => {
    const known = tables.get(only ?? entity) ?? describeTable(orm, entity, only);
    tables.set(only ?? entity, known);
    return known;
  };
  return {
    async select(entity, orgId, rest, { only, ...how } = {}) {
      const { columns, name, dates } = tableOf(entity, only);
      const rows = await run(orgId, sql`select ${columns} from ${name} ${rest}`, how);
      for (const row of rows) {
        // The moments of one row are often the same, and it takes longer to read a text than to compare it.
        let [last, time] = ['', 0];
        for (const date of dates) {
          const text = row[date];
          if (text === null) continue;
          if (text !== last) [last, time] = [String(text), new Date(String(text)).getTime()];
          row[date] = new Date(time);
        }
      }
      return rows as never;
    },
    async count(entity, orgId, rest) {
      const { name } = tableOf(entity);
      const [row] = await run(orgId, sql`select count(*)::int as count from ${name} ${rest}`, {
        isPlannedAnew: true,
      });
      return Number(row?.count);
    },
  };
}

interface Table {
  name: Sql;
  columns: Sql;
  /** The properties that come as text and are moments. */
  dates: string[];
}

/** Some properties of one entity. */
type SelectedColumns = readonly PropertyKey[];

function describeTable(orm: MikroORM, entity: RowClass<object>, only?: SelectedColumns): Table {
  const { tableName, props } = orm.getMetadata().get(entity);
  const read = props.filter(
    ({ lazy, persist, name }) => !lazy && persist !== false && (only?.includes(name) ?? true),
  );
  const column = ({ fieldNames, name }: EntityProperty) => `"${fieldNames[0]}" as "${name}"`;
  return {
    name: raw(`"${tableName}"`),
    columns: raw(read.map(column).join(', ')),
    dates: read.filter(({ runtimeType }) => runtimeType === 'Date').map(({ name }) => name),
  };
}
