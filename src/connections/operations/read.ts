import { withForbiddenAudit } from '../../audit/record-refusals.ts';
import { validationError } from '../../common/errors.ts';
import { createBatchLoader } from '../../database/group-commit.ts';
import { joinAnd, type Sql, sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection, summaryColumns } from '../app-connection.entity.ts';
import { encodeCursor } from '../cursor.ts';
import type { ConnectionDeps } from '../deps.ts';
import { type ListConnections, parsePageArguments } from '../list-input.ts';
import { connectionNotFound, readConnection } from '../persistence/find-connection.ts';
import {
  afterCursor,
  atOrBeforeCursor,
  connectionVisibilityConditions,
  inProject,
  listConditions,
  orderBy,
} from '../persistence/list-conditions.ts';

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
 * @throws AppError `NOT_FOUND`, `FORBIDDEN`
 */
export async function getConnection(
  deps: ConnectionDeps,
  caller: Caller,
  id: string,
  app?: string,
): Promise<AppConnection> {
  return withForbiddenAudit(deps, caller, { ...reading, connectionId: id }, async () => {
    caller.requireScope('connections:read');
    const connection = await connectionLoader(deps, caller)(id);
    if (connection && (!app || connection.app === app)) return connection;
    throw connectionNotFound();
  });
}

/**
 * @param projectId null for a connection without a project
 * @param app the id of an app, where a connection to another app is not found
 * @throws AppError `NOT_FOUND`, `FORBIDDEN`
 */
export async function getConnectionByName(
  deps: ConnectionDeps,
  caller: Caller,
  name: string,
  projectId: string | null,
  app?: string,
): Promise<AppConnection> {
  return withForbiddenAudit(deps, caller, { ...reading, projectId }, async () => {
    caller.requireScope('connections:read');
    caller.requireProject(projectId, ['projectId']);
    return readConnection(deps, caller, [sql`name = ${name}`, inProject(projectId), ...appCondition(app)]);
  });
}

/** How much of each connection a list has. */
export interface ListOptions {
  /** Only `summaryColumns`. */
  isBrief?: boolean;
}

/** @throws AppError `BAD_USER_INPUT` (a cursor, or arguments that do not fit each other), `FORBIDDEN` */
export async function listConnections(
  deps: ConnectionDeps,
  caller: Caller,
  listing: ListConnections,
  options: ListOptions = {},
): Promise<ConnectionPage> {
  const { projectId } = listing;
  return withForbiddenAudit(deps, caller, { ...reading, projectId }, async () => {
    caller.requireScope('connections:read');
    if (projectId !== undefined) caller.requireProject(projectId, ['projectId']);
    return readPage(deps, caller, listing, options);
  });
}

async function readPage(
  { database }: ConnectionDeps,
  caller: Caller,
  listing: ListConnections,
  { isBrief }: ListOptions,
): Promise<ConnectionPage> {
  const { order, isBackward, size, cursor, issues } = parsePageArguments(listing);
  if (issues.length > 0) throw validationError(issues);
  const { orgId } = caller;
  const conditions = listConditions(caller, listing);
  const how = {
    // What is rare is found by other indexes than what is common.
    skipPreparedPlan: Boolean(listing.filter || listing.app),
    ...(isBrief && { only: summaryColumns }),
  };
  const onPage = cursor ? [afterCursor(order, cursor, isBackward)] : [];
  const found = await database.select(
    AppConnection,
    orgId,
    // One more than asked for tells whether there are more.
    sql`where ${joinAnd([...conditions, ...onPage])} ${orderBy(order, isBackward)} limit ${size + 1}`,
    how,
  );
  const nodes = found.slice(0, size);
  if (isBackward) nodes.reverse();
  const [first, last] = [nodes.at(0), nodes.at(-1)];
  const isMoreAhead = async () => found.length > size;
  const isMoreBehind = async () => {
    if (!cursor) return false;
    const near = joinAnd([...conditions, atOrBeforeCursor(order, cursor, isBackward)]);
    const one = await database.select(
      AppConnection,
      orgId,
      sql`where ${near} ${orderBy(order, !isBackward)} limit 1`,
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
    count: () => database.count(AppConnection, orgId, sql`where ${joinAnd(conditions)}`),
  };
}

const byId = new WeakMap<Caller, (id: string) => Promise<AppConnection | undefined>>();

/** Reads connections by their ids for one caller, those of one moment in one statement. */
function connectionLoader({ database }: ConnectionDeps, caller: Caller) {
  const known = byId.get(caller);
  if (known) return known;
  const read = createBatchLoader(async (ids) => {
    const conditions = joinAnd([...connectionVisibilityConditions(caller), sql`id = any(${ids}::uuid[])`]);
    const found = await database.select(AppConnection, caller.orgId, sql`where ${conditions}`);
    const connections = new Map(found.map((connection) => [connection.id, connection]));
    return ids.map((id) => connections.get(id));
  });
  byId.set(caller, read);
  return read;
}

function appCondition(app: string | undefined): Sql[] {
  return app ? [sql`app = ${app}`] : [];
}
