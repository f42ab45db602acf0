import { type FilterQuery, raw } from '@mikro-orm/postgresql';
import type { Caller } from '../access/caller.ts';
import type { AppConnection } from './app-connection.entity.ts';
import type { ConnectionOrder, Cursor } from './cursor.ts';
import type { ListConnections } from './find-input.ts';

type Condition = FilterQuery<AppConnection>;

/** What the connections of a list are like, on whichever page. */
export function conditionsOf(caller: Caller, { projectId, app, filter }: ListConnections): Condition[] {
  const { namePrefix, nameContains, method, status } = filter ?? {};
  const conditions: Condition[] = [{ orgId: caller.orgId, deletedAt: null }, caller.inProjects];
  if (projectId !== undefined) conditions.push({ projectId });
  if (app) conditions.push({ app });
  if (filter?.app) conditions.push({ app: filter.app });
  if (method) conditions.push({ method });
  if (status) conditions.push({ verificationStatus: status });
  // No name has a character beyond the last one in it, so these are the names between which the prefix's own are.
  if (namePrefix) conditions.push({ name: { $gte: namePrefix, $lt: `${namePrefix}\u{10ffff}` } });
  // Unlike `like`, this has no wildcards, and PostgreSQL expects it to be true often enough to read in order.
  if (nameContains) conditions.push({ [raw('strpos("name", ?) > 0', [nameContains])]: [] });
  conditions.push({ createdAt: between(filter?.createdFrom, filter?.createdTo) });
  conditions.push({ updatedAt: between(filter?.updatedFrom, filter?.updatedTo) });
  return conditions;
}

function between(from: Date | null | undefined, to: Date | null | undefined) {
  return { ...(from && { $gte: from }), ...(to && { $lt: to }) };
}

/** How to read a list, from its end if `isBackward`. */
export function orderByOf({ field, direction }: ConnectionOrder, isBackward: boolean) {
  const way = (direction === 'asc') === isBackward ? 'desc' : 'asc';
  return { [field]: way, id: way } as const;
}

const columns = { name: 'name', createdAt: 'created_at', updatedAt: 'updated_at' } as const;

/** What is beyond a cursor for who reads on from it, whichever way; compared as a whole, as the indexes are sorted. */
export function beyond(order: ConnectionOrder, cursor: Cursor, isBackward: boolean): Condition {
  return compare(order, cursor, (order.direction === 'asc') === isBackward ? '<' : '>');
}

/** All the rest: what is at the cursor or on the near side of it. */
export function upTo(order: ConnectionOrder, cursor: Cursor, isBackward: boolean): Condition {
  return compare(order, cursor, (order.direction === 'asc') === isBackward ? '>=' : '<=');
}

function compare({ field }: ConnectionOrder, { value, id }: Cursor, operator: string): Condition {
  return { [raw(`("${columns[field]}", "id") ${operator} (?, ?)`, [value, id])]: [] };
}
