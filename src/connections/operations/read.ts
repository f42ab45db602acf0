import { withForbiddenAudit } from '../../audit/record-refusals.ts';
import { validationError } from '../../common/errors.ts';
import { joinAnd, type Sql, sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection, summaryColumns } from '../app-connection.entity.ts';
import { type ConnectionOrder, encodeCursor } from '../cursor.ts';
import type { ConnectionDeps } from '../deps.ts';
import { type ListConnections, parsePageArguments } from '../list-input.ts';
import { connectionNotFound, readConnection } from '../persistence/find-connection.ts';
import { buildHostOutageCondition } from '../persistence/host-outage-condition.ts';
import {
  afterCursor,
  atOrBeforeCursor,
  inProject,
  listConditions,
  orderBy,
} from '../persistence/list-conditions.ts';
import { loadConnection } from '../persistence/load-connection.ts';

/** The orders whose values are in `summaryColumns`. */
const summaryOrders: readonly ConnectionOrder['field'][] = ['name', 'createdAt', 'updatedAt'];

const reading = { action: 'READ_CONNECTIONS' } as const;

/** A page of a list, in the requested order. */
export interface ConnectionPage {
  nodes: AppConnection[];
  /** Null on an empty page. */
  startCursor: string | null;
  endCursor: string | null;
  /** The cursor of one of `nodes`. */
  getCursor(node: AppConnection): string;
  /** Whether there are connections after this page; reading backward, this is a query of its own. */
  hasNextPage(): Promise<boolean>;
  /** Whether there are connections before this page; reading forward, this is a query of its own. */
  hasPreviousPage(): Promise<boolean>;
  /** The number of connections on all pages; a query of its own. */
  count(): Promise<number>;
}

/**
 * Reads a connection by id.
 *
 * @param app the id of an app: a connection to another app is not found
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
    const connection = await loadConnection(deps.database, caller.orgId, id);
    const isVisible = connection && caller.maySeeConnection({ id, projectId: connection.projectId ?? null });
    if (isVisible && (!app || connection.app === app)) return connection;
    throw connectionNotFound();
  });
}

/**
 * Reads a connection by name.
 *
 * @param projectId null for a connection without a project
 * @param app the id of an app: a connection to another app is not found
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

/** Options of a list. */
export interface ListOptions {
  /** Reads only `summaryColumns`. */
  isBrief?: boolean;
}

/**
 * Reads a page of the connections that the caller may see.
 *
 * @throws AppError `BAD_USER_INPUT` (a cursor, or contradictory page arguments), `FORBIDDEN`
 */
export async function listConnections(
  deps: ConnectionDeps,
  caller: Caller,
  input: ListConnections,
  options: ListOptions = {},
): Promise<ConnectionPage> {
  const { projectId } = input;
  return withForbiddenAudit(deps, caller, { ...reading, projectId }, async () => {
    caller.requireScope('connections:read');
    if (projectId !== undefined) caller.requireProject(projectId, ['projectId']);
    return readPage(deps, caller, input, options);
  });
}

async function readPage(
  deps: ConnectionDeps,
  caller: Caller,
  input: ListConnections,
  { isBrief }: ListOptions,
): Promise<ConnectionPage> {
  const { database } = deps;
  const { order, isBackward, size, cursor, issues } = parsePageArguments(input);
  if (issues.length > 0) throw validationError(issues);
  const { orgId } = caller;
  const isHostDown = input.filter?.health ? await buildHostOutageCondition(deps, orgId) : undefined;
  const conditions = listConditions(caller, input, isHostDown);
  const selectOptions = {
    // Rare and frequent values need different indexes, so PostgreSQL plans the statement for its parameters.
    skipPreparedPlan: Boolean(input.filter || input.app),
    // The cursors need the value of the order.
    ...(isBrief && summaryOrders.includes(order.field) && { properties: summaryColumns }),
  };
  const pageConditions = cursor ? [afterCursor(order, cursor, isBackward)] : [];
  const found = await database.select(
    AppConnection,
    orgId,
    // One more than the page size shows whether there is a next page.
    sql`where ${joinAnd([...conditions, ...pageConditions])} ${orderBy(order, isBackward)} limit ${size + 1}`,
    selectOptions,
  );
  const nodes = found.slice(0, size);
  if (isBackward) nodes.reverse();
  const [first, last] = [nodes.at(0), nodes.at(-1)];
  const hasMoreAhead = async () => found.length > size;
  const hasMoreBehind = async () => {
    if (!cursor) return false;
    const behind = joinAnd([...conditions, atOrBeforeCursor(order, cursor, isBackward)]);
    const rows = await database.select(
      AppConnection,
      orgId,
      sql`where ${behind} ${orderBy(order, !isBackward)} limit 1`,
      selectOptions,
    );
    return rows.length > 0;
  };
  const getCursor = (node: AppConnection) => encodeCursor(order, node);
  return {
    nodes,
    startCursor: first ? getCursor(first) : null,
    endCursor: last ? getCursor(last) : null,
    getCursor,
    hasNextPage: isBackward ? hasMoreBehind : hasMoreAhead,
    hasPreviousPage: isBackward ? hasMoreAhead : hasMoreBehind,
    count: () => database.count(AppConnection, orgId, sql`where ${joinAnd(conditions)}`),
  };
}

function appCondition(app: string | undefined): Sql[] {
  return app ? [sql`app = ${app}`] : [];
}
