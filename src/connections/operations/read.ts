import { auditForbidden } from '../../audit/record-refusals.ts';
import { badInput } from '../../common/errors.ts';
import { lookUpTogether } from '../../database/group-commit.ts';
import { allOf, type Sql, sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection, connectionBasics } from '../app-connection.entity.ts';
import { encodeCursor } from '../cursor.ts';
import type { ConnectionParts } from '../deps.ts';
import { type ListConnections, placeOf } from '../list-input.ts';
import { connectionNotFound, readConnection } from '../persistence/find-connection.ts';
import { beyond, conditionsOf, inOrder, inProject, upTo, visibleTo } from '../persistence/list-conditions.ts';

const reading = { action: 'READ_CONNECTIONS' } as const;

/** Part of a list, in the order asked for. */
export interface ConnectionPage {
  nodes: AppConnection[];
  /** Null on an empty page. */
  startCursor: string | null;
  endCursor: string | null;
  /** The cursor of one of `nodes`. */
  cursorOf(node: AppConnection): string;
  /** Whether there are more after this page. */
  hasNextPage(): Promise<boolean>;
  /** Whether there are more before this page. */
  hasPreviousPage(): Promise<boolean>;
  /** How many there are on all pages; a query of its own. */
  count(): Promise<number>;
}

/**
 * @param app the id of an app, where a connection to another app is not found
 * @throws Problem `NOT_FOUND`, `FORBIDDEN`
 */
export async function getConnection(
  parts: ConnectionParts,
  caller: Caller,
  id: string,
  app?: string,
): Promise<AppConnection> {
  return auditForbidden(parts, caller, { ...reading, connectionId: id }, async () => {
    caller.assertMay('connections:read');
    const connection = await readTogether(parts, caller)(id);
    if (connection && (!app || connection.app === app)) return connection;
    throw connectionNotFound();
  });
}

/**
 * @param projectId null for a connection without a project
 * @param app the id of an app, where a connection to another app is not found
 * @throws Problem `NOT_FOUND`, `FORBIDDEN`
 */
export async function getConnectionByName(
  parts: ConnectionParts,
  caller: Caller,
  name: string,
  projectId: string | null,
  app?: string,
): Promise<AppConnection> {
  return auditForbidden(parts, caller, { ...reading, projectId }, async () => {
    caller.assertMay('connections:read');
    caller.assertMayUse(projectId, ['projectId']);
    return readConnection(parts, caller, [sql`name = ${name}`, inProject(projectId), ...ofApp(app)]);
  });
}

/** How much of each connection a list has. */
export interface ListOptions {
  /** Only `connectionBasics`. */
  isBrief?: boolean;
}

/** @throws Problem `BAD_USER_INPUT` (a cursor, or arguments that do not fit each other), `FORBIDDEN` */
export async function listConnections(
  parts: ConnectionParts,
  caller: Caller,
  listing: ListConnections,
  options: ListOptions = {},
): Promise<ConnectionPage> {
  const { projectId } = listing;
  return auditForbidden(parts, caller, { ...reading, projectId }, async () => {
    caller.assertMay('connections:read');
    if (projectId !== undefined) caller.assertMayUse(projectId, ['projectId']);
    return list(parts, caller, listing, options);
  });
}

async function list(
  { database }: ConnectionParts,
  caller: Caller,
  listing: ListConnections,
  { isBrief }: ListOptions,
): Promise<ConnectionPage> {
  const { order, isBackward, size, cursor, issues } = placeOf(listing);
  if (issues.length > 0) throw badInput(issues);
  const { orgId } = caller;
  const conditions = conditionsOf(caller, listing);
  const how = {
    // What is rare is found by other indexes than what is common.
    isPlannedAnew: Boolean(listing.filter || listing.app),
    ...(isBrief && { only: connectionBasics }),
  };
  const onPage = cursor ? [beyond(order, cursor, isBackward)] : [];
  const found = await database.select(
    AppConnection,
    orgId,
    // One more than asked for tells whether there are more.
    sql`where ${allOf([...conditions, ...onPage])} ${inOrder(order, isBackward)} limit ${size + 1}`,
    how,
  );
  const nodes = found.slice(0, size);
  if (isBackward) nodes.reverse();
  const [first, last] = [nodes.at(0), nodes.at(-1)];
  const isMoreAhead = async () => found.length > size;
  const isMoreBehind = async () => {
    if (!cursor) return false;
    const near = allOf([...conditions, upTo(order, cursor, isBackward)]);
    const one = await database.select(
      AppConnection,
      orgId,
      sql`where ${near} ${inOrder(order, !isBackward)} limit 1`,
      how,
    );
    return one.length > 0;
  };
  const cursorOf = (node: AppConnection) => encodeCursor(order, node);
  return {
    nodes,
    startCursor: first ? cursorOf(first) : null,
    endCursor: last ? cursorOf(last) : null,
    cursorOf,
    hasNextPage: isBackward ? isMoreBehind : isMoreAhead,
    hasPreviousPage: isBackward ? isMoreAhead : isMoreBehind,
    count: () => database.count(AppConnection, orgId, sql`where ${allOf(conditions)}`),
  };
}

const byId = new WeakMap<Caller, (id: string) => Promise<AppConnection | undefined>>();

/** Reads connections by their ids for one caller, those of one moment in one statement. */
function readTogether({ database }: ConnectionParts, caller: Caller) {
  const known = byId.get(caller);
  if (known) return known;
  const read = lookUpTogether(async (ids) => {
    const conditions = allOf([...visibleTo(caller), sql`id = any(${ids}::uuid[])`]);
    const found = await database.select(AppConnection, caller.orgId, sql`where ${conditions}`);
    const connections = new Map(found.map((connection) => [connection.id, connection]));
    return ids.map((id) => connections.get(id));
  });
  byId.set(caller, read);
  return read;
}

function ofApp(app: string | undefined): Sql[] {
  return app ? [sql`app = ${app}`] : [];
}
