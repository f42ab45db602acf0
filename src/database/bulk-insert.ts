import type { EntityManager, EntityMetadata } from '@mikro-orm/postgresql';
import type { SqlStatement } from './database.ts';

const texts = new WeakMap<EntityMetadata, string>();

/**
 * An `insert` of rows of an entity, as the entity is mapped. All values are one parameter, so that the text is the same
 * for however many rows, and PostgreSQL need not parse and plan it each time; MikroORM's own has one for each value.
 *
 * @param rows plain ones will do; what is left out of one is null
 */
export function bulkInsert<Entity extends object>(
  em: EntityManager,
  entity: new () => Entity,
  rows: readonly Entity[],
): SqlStatement {
  const meta = em.getMetadata(entity);
  const sql = texts.get(meta) ?? insertSql(meta);
  texts.set(meta, sql);
  return { sql, params: [JSON.stringify(rows)] };
}

function insertSql({ tableName, props }: EntityMetadata): string {
  const stored = props.filter(({ persist }) => persist !== false);
  const columns = stored.map(({ fieldNames }) => `"${fieldNames[0]}"`).join(', ');
  const given = stored.map(({ name, columnTypes }) => `"${name}" ${columnTypes[0]}`).join(', ');
  return `insert into "${tableName}" (${columns}) select * from json_to_recordset(?) as given (${given})`;
}
