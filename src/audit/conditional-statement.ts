import type { EntityManager } from '@mikro-orm/postgresql';
import type { SqlStatement } from '../database/database.ts';
import type { RowClass } from '../database/row-reader.ts';

/** A row that a change updates or deletes. */
export interface ChangedRow {
  entity: RowClass<object>;
  id: string;
}

/**
 * Builds a statement that locks a row, then moves the head of a trail, and makes the changes if the head has moved.
 *
 * @param changes statements of `row-statements.ts`
 */
export function ifTrailEndsWith(
  locks: { row: SqlStatement | undefined; isRowRequired: boolean; head: SqlStatement },
  changes: readonly SqlStatement[],
): SqlStatement {
  const { row, isRowRequired, head } = locks;
  // PostgreSQL evaluates this condition first, because it does not depend on a row of the head.
  const afterRow = row ? `and (select count(*) from target) >= ${isRowRequired ? 1 : 0}` : '';
  const steps = [
    ...(row ? [`target as materialized (${row.sql})`] : []),
    `head as (${head.sql} ${afterRow} returning 1)`,
    ...changes.map(({ sql }, index) => `change_${index} as (${sql} and exists (select from head))`),
  ];
  return {
    sql: `with ${steps.join(', ')} select exists (select from head) as "isStored"`,
    params: [...(row?.params ?? []), ...head.params, ...changes.flatMap(({ params }) => params)],
  };
}

/**
 * Builds the statement that locks a row. It does not conflict with foreign keys that refer to the row: a transaction that
 * inserts one may have locked the trail, for which the change of the row waits.
 *
 * @param readMac finds the row only if it still has this MAC
 */
export function lockRow(em: EntityManager, { entity, id }: ChangedRow, readMac?: string): SqlStatement {
  const condition = readMac === undefined ? '' : 'and mac = ?';
  return {
    sql: `select from "${em.getMetadata(entity).tableName}" where id = ? ${condition} for no key update`,
    params: readMac === undefined ? [id] : [id, readMac],
  };
}
