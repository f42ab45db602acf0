import { type Sql, sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import type { ConnectionOrder, Cursor } from '../cursor.ts';
import type { ListConnections } from '../list-input.ts';

/** The conditions for connections that the caller may see and that are not deleted. */
export function connectionVisibilityConditions({ orgId, projectIds, connectionIds }: Caller): Sql[] {
  const conditions = [sql`org_id = ${orgId}`, sql`deleted_at is null`];
  if (projectIds) conditions.push(sql`project_id = any(${[...projectIds]}::uuid[])`);
  if (connectionIds) conditions.push(sql`id = any(${[...connectionIds]}::uuid[])`);
  return conditions;
}

/** The condition for connections of a project, or without a project. */
export function inProject(projectId: string | null): Sql {
  return projectId === null ? sql`project_id is null` : sql`project_id = ${projectId}`;
}

/**
 * The conditions of a list, the same for every page.
 *
 * @param isHostDown the condition for connections with an outage of the host; undefined if there is none
 */
export function listConditions(
  caller: Caller,
  { projectId, app, filter }: ListConnections,
  isHostDown: Sql | undefined,
): Sql[] {
  const { namePrefix, nameContains, method, status, health } = filter ?? {};
  const conditions = connectionVisibilityConditions(caller);
  if (projectId !== undefined) conditions.push(inProject(projectId));
  if (app) conditions.push(sql`app = ${app}`);
  if (filter?.app) conditions.push(sql`app = ${filter.app}`);
  if (method) conditions.push(sql`method = ${method}`);
  if (status) conditions.push(sql`verification_status = ${status}`);
  if (health) {
    const has = sql`verification_status = ${health}`;
    if (!isHostDown) conditions.push(has);
    else
      conditions.push(
        health === 'UNREACHABLE' ? sql`(${has} or ${isHostDown})` : sql`${has} and not ${isHostDown}`,
      );
  }
  // The upper bound is the prefix and the last code point, which no name contains. A range can use an index.
  if (namePrefix) conditions.push(sql`name >= ${namePrefix} and name < ${`${namePrefix}\u{10ffff}`}`);
  // `strpos` has no wildcards, unlike `like`, and PostgreSQL estimates enough matches to scan in the order of the list.
  if (nameContains) conditions.push(sql`strpos(name, ${nameContains}) > 0`);
  for (const { key, value } of filter?.tags ?? []) {
    const hasValue = value == null ? sql`` : sql` and value = ${value}`;
    conditions.push(
      sql`id in (select connection_id from connection_tag where org_id = ${caller.orgId} and key = ${key}${hasValue})`,
    );
  }
  if (filter?.createdFrom) conditions.push(sql`created_at >= ${filter.createdFrom}`);
  if (filter?.createdTo) conditions.push(sql`created_at < ${filter.createdTo}`);
  if (filter?.updatedFrom) conditions.push(sql`updated_at >= ${filter.updatedFrom}`);
  if (filter?.updatedTo) conditions.push(sql`updated_at < ${filter.updatedTo}`);
  for (const [column, before] of [
    [columns.expiresAt, filter?.expiresBefore],
    [columns.since, filter?.sinceBefore],
    [columns.lastCheckAt, filter?.lastCheckBefore],
    [columns.nextCheckAt, filter?.nextCheckBefore],
    [columns.lastGoodAt, filter?.lastGoodBefore],
  ] as const) {
    if (before) conditions.push(sql`${column} < ${before}`);
  }
  return conditions;
}

const columns = {
  name: sql.raw('name'),
  createdAt: sql.raw('created_at'),
  updatedAt: sql.raw('updated_at'),
  // As in the indexes. A comparison of rows with null is neither true nor false.
  since: sql.raw(`coalesce(failing_since, 'infinity')`),
  lastCheckAt: sql.raw(`coalesce(verification_checked_at, 'infinity')`),
  nextCheckAt: sql.raw(`coalesce(next_check_at, 'infinity')`),
  lastGoodAt: sql.raw(`coalesce(last_verified_at, 'infinity')`),
  expiresAt: sql.raw(`coalesce(expires_at, 'infinity')`),
} as const satisfies Record<ConnectionOrder['field'], Sql>;

/** The `order by` of a list, reversed if `isBackward`. */
export function orderBy({ field, direction }: ConnectionOrder, isBackward: boolean): Sql {
  const order = sql.raw((direction === 'asc') === isBackward ? 'desc' : 'asc');
  return sql`order by ${columns[field]} ${order}, id ${order}`;
}

/** The condition for connections after a cursor in reading direction. Row comparison matches the order of the indexes. */
export function afterCursor(order: ConnectionOrder, cursor: Cursor, isBackward: boolean): Sql {
  return compare(order, cursor, (order.direction === 'asc') === isBackward ? '<' : '>');
}

/** The condition for connections at a cursor or before it in reading direction. */
export function atOrBeforeCursor(order: ConnectionOrder, cursor: Cursor, isBackward: boolean): Sql {
  return compare(order, cursor, (order.direction === 'asc') === isBackward ? '>=' : '<=');
}

function compare({ field }: ConnectionOrder, { value, id }: Cursor, operator: '<' | '>' | '<=' | '>='): Sql {
  return sql`(${columns[field]}, id) ${sql.raw(operator)} (${value ?? 'infinity'}, ${id})`;
}
