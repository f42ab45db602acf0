import { raw, type Sql, sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import type { ConnectionOrder, Cursor } from '../cursor.ts';
import type { ListConnections } from '../list-input.ts';

/** Those of the caller's organisation, in the projects that the caller is limited to, that are not deleted. */
export function connectionVisibilityConditions({ orgId, projectIds }: Caller): Sql[] {
  const all = [sql`org_id = ${orgId}`, sql`deleted_at is null`];
  return projectIds ? [...all, sql`project_id = any(${[...projectIds]}::uuid[])`] : all;
}

/** Those of a project, or those without one. */
export function inProject(projectId: string | null): Sql {
  return projectId === null ? sql`project_id is null` : sql`project_id = ${projectId}`;
}

/** What the connections of a list are like, on whichever page. */
export function listConditions(caller: Caller, { projectId, app, filter }: ListConnections): Sql[] {
  const { namePrefix, nameContains, method, status } = filter ?? {};
  const conditions = connectionVisibilityConditions(caller);
  if (projectId !== undefined) conditions.push(inProject(projectId));
  if (app) conditions.push(sql`app = ${app}`);
  if (filter?.app) conditions.push(sql`app = ${filter.app}`);
  if (method) conditions.push(sql`method = ${method}`);
  if (status) conditions.push(sql`verification_status = ${status}`);
  // No name has a character beyond the last one in it, so these are the names between which the prefix's own are.
  if (namePrefix) conditions.push(sql`name >= ${namePrefix} and name < ${`${namePrefix}\u{10ffff}`}`);
  // Unlike `like`, this has no wildcards, and PostgreSQL expects it to be true often enough to read in order.
  if (nameContains) conditions.push(sql`strpos(name, ${nameContains}) > 0`);
  if (filter?.createdFrom) conditions.push(sql`created_at >= ${filter.createdFrom}`);
  if (filter?.createdTo) conditions.push(sql`created_at < ${filter.createdTo}`);
  if (filter?.updatedFrom) conditions.push(sql`updated_at >= ${filter.updatedFrom}`);
  if (filter?.updatedTo) conditions.push(sql`updated_at < ${filter.updatedTo}`);
  return conditions;
}

const columns = {
  name: raw('name'),
  createdAt: raw('created_at'),
  updatedAt: raw('updated_at'),
} as const;

/** How to read a list, from its end if `isBackward`. */
export function orderBy({ field, direction }: ConnectionOrder, isBackward: boolean): Sql {
  const way = raw((direction === 'asc') === isBackward ? 'desc' : 'asc');
  return sql`order by ${columns[field]} ${way}, id ${way}`;
}

/** What is beyond a cursor for who reads on from it, whichever way; compared as a whole, as the indexes are sorted. */
export function afterCursor(order: ConnectionOrder, cursor: Cursor, isBackward: boolean): Sql {
  return compare(order, cursor, (order.direction === 'asc') === isBackward ? '<' : '>');
}

/** All the rest: what is at the cursor or on the near side of it. */
export function atOrBeforeCursor(order: ConnectionOrder, cursor: Cursor, isBackward: boolean): Sql {
  return compare(order, cursor, (order.direction === 'asc') === isBackward ? '>=' : '<=');
}

function compare({ field }: ConnectionOrder, { value, id }: Cursor, operator: '<' | '>' | '<=' | '>='): Sql {
  return sql`(${columns[field]}, id) ${raw(operator)} (${value}, ${id})`;
}
