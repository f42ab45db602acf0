import type { EntityManager, EntityMetadata, EntityProperty } from '@mikro-orm/postgresql';
import type { SqlStatement } from './database.ts';
import type { RowClass } from './row-reader.ts';

const insertTexts = new WeakMap<EntityMetadata, string>();

/**
 * Builds an `insert` of rows of an entity. All values are one JSON parameter, so the text does not depend on the number of
 * rows and PostgreSQL parses and plans it once. MikroORM's inserts have a parameter for each value.
 *
 * The text of this and of the other statements here ends with a condition, to which another one can be added.
 *
 * @param rows entities or plain objects; missing properties become null
 */
export function insertRows<Row extends object>(
  em: EntityManager,
  entity: RowClass<Row>,
  rows: readonly Row[],
): SqlStatement {
  const meta = em.getMetadata(entity);
  const sql = insertTexts.get(meta) ?? insertText(meta);
  insertTexts.set(meta, sql);
  return { sql, params: [JSON.stringify(rows)] };
}

/** Builds an `update` of some properties of one row, with the values of `row`. */
export function updateRow<Row extends { id: string }>(
  em: EntityManager,
  entity: RowClass<Row>,
  row: Row,
  properties: readonly (keyof Row & string)[],
): SqlStatement {
  const { tableName, props } = em.getMetadata(entity);
  const changed = props.filter(({ name }) => properties.some((property) => property === name));
  const assignments = changed.map(({ name, fieldNames }) => `"${fieldNames[0]}" = input."${name}"`);
  const values = Object.fromEntries(properties.map((property) => [property, row[property]]));
  return {
    sql: `update "${tableName}" set ${assignments.join(', ')}
      from json_to_record(?) as input (${definitions(changed)}) where "${tableName}"."id" = ?`,
    params: [JSON.stringify(values), row.id],
  };
}

/** Builds a `delete` of one row. */
export function deleteRow<Row extends { id: string }>(
  em: EntityManager,
  entity: RowClass<Row>,
  { id }: Row,
): SqlStatement {
  return { sql: `delete from "${em.getMetadata(entity).tableName}" where "id" = ?`, params: [id] };
}

function insertText({ tableName, props }: EntityMetadata): string {
  const stored = props.filter(({ persist }) => persist !== false);
  const columns = stored.map(({ fieldNames }) => `"${fieldNames[0]}"`).join(', ');
  return `insert into "${tableName}" (${columns})
    select * from json_to_recordset(?) as input (${definitions(stored)}) where true`;
}

function definitions(props: readonly EntityProperty[]): string {
  return props.map(({ name, columnTypes }) => `"${name}" ${columnTypes[0]}`).join(', ');
}
