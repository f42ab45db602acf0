import type { EntityManager, EntityMetadata } from '@mikro-orm/postgresql';
import type { SqlStatement } from './database.ts';

const statements = new WeakMap<EntityMetadata, string>();

/**
 * Builds an `insert` of rows of an entity. All values are one JSON parameter, so the text does not depend on the number of
 * rows and PostgreSQL parses and plans it once. MikroORM's inserts have a parameter for each value.
 *
 * @param rows entities or plain objects; missing properties become null
 */
export function bulkInsert<Entity extends object>(
  em: EntityManager,
  entity: new () => Entity,
  rows: readonly Entity[],
): SqlStatement {
  const meta = em.getMetadata(entity);
  const sql = statements.get(meta) ?? insertSql(meta);
  statements.set(meta, sql);
  return { sql, params: [JSON.stringify(rows)] };
}

function insertSql({ tableName, props }: EntityMetadata): string {
  const stored = props.filter(({ persist }) => persist !== false);
  const columns = stored.map(({ fieldNames }) => `"${fieldNames[0]}"`).join(', ');
  const definitions = stored.map(({ name, columnTypes }) => `"${name}" ${columnTypes[0]}`).join(', ');
  return `insert into "${tableName}" (${columns}) select * from json_to_recordset(?) as input (${definitions})`;
}
