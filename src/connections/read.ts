import { type EntityManager, type FilterQuery, LockMode } from '@mikro-orm/postgresql';
import type { Caller } from '../access/caller.ts';
import { badInput, Problem } from '../errors.ts';
import { AppConnection } from './app-connection.entity.ts';
import { encodeCursor } from './cursor.ts';
import { beyond, conditionsOf, orderByOf, upTo } from './find.ts';
import { type ListConnections, placeOf } from './find-input.ts';
import type { ConnectionParts } from './parts.ts';

/** Part of a list, in the order asked for. */
export interface ConnectionPage {
  nodes: AppConnection[];
  /** Null on an empty page. */
  startCursor: string | null;
  endCursor: string | null;
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
  { database }: ConnectionParts,
  caller: Caller,
  id: string,
  app?: string,
): Promise<AppConnection> {
  caller.assertMay('connections:read');
  return findConnection(database.fork(), caller, { id, ...(app && { app }) });
}

/**
 * @param projectId null for a connection without a project
 * @param app the id of an app, where a connection to another app is not found
 * @throws Problem `NOT_FOUND`, `FORBIDDEN`
 */
export async function getConnectionByName(
  { database }: ConnectionParts,
  caller: Caller,
  name: string,
  projectId: string | null,
  app?: string,
): Promise<AppConnection> {
  caller.assertMay('connections:read');
  return findConnection(database.fork(), caller, { name, projectId, ...(app && { app }) });
}

/** @throws Problem `BAD_USER_INPUT` (a cursor, or arguments that do not fit each other), `FORBIDDEN` */
export async function listConnections(
  { database }: ConnectionParts,
  caller: Caller,
  listing: ListConnections,
): Promise<ConnectionPage> {
  caller.assertMay('connections:read');
  const { order, isBackward, size, cursor, issues } = placeOf(listing);
  if (issues.length > 0) throw badInput(issues);
  const list = () => conditionsOf(caller.orgId, listing);
  const found = await database.fork().find(
    AppConnection,
    { $and: [...list(), ...(cursor ? [beyond(order, cursor, isBackward)] : [])] },
    // One more than asked for tells whether there are more.
    { orderBy: orderByOf(order, isBackward), limit: size + 1 },
  );
  const nodes = found.slice(0, size);
  if (isBackward) nodes.reverse();
  const [first, last] = [nodes.at(0), nodes.at(-1)];
  const isMoreAhead = async () => found.length > size;
  const isMoreBehind = async () => {
    if (!cursor) return false;
    const one = await database
      .fork()
      .find(
        AppConnection,
        { $and: [...list(), upTo(order, cursor, isBackward)] },
        { fields: ['id'], orderBy: orderByOf(order, !isBackward), limit: 1 },
      );
    return one.length > 0;
  };
  return {
    nodes,
    startCursor: first ? encodeCursor(order, first) : null,
    endCursor: last ? encodeCursor(order, last) : null,
    hasNextPage: isBackward ? isMoreBehind : isMoreAhead,
    hasPreviousPage: isBackward ? isMoreAhead : isMoreBehind,
    count: () => database.fork().count(AppConnection, { $and: list() }),
  };
}

/** How to find a connection: `lock` keeps others from changing it until the transaction ends. */
export interface FindOptions {
  withSecrets?: boolean;
  lock?: boolean;
  /** Deleted ones too, or only them; those that are not deleted unless said. */
  deleted?: 'too' | 'only';
}

/**
 * A connection of the caller's organisation.
 *
 * @throws Problem `NOT_FOUND`
 */
export async function findConnection(
  em: EntityManager,
  caller: Caller,
  where: FilterQuery<AppConnection>,
  { withSecrets, lock, deleted }: FindOptions = {},
): Promise<AppConnection> {
  const hidden: FilterQuery<AppConnection> =
    deleted === 'too' ? {} : { deletedAt: deleted === 'only' ? { $ne: null } : null };
  const connection = await em.findOne(
    AppConnection,
    { $and: [where, { orgId: caller.orgId }, hidden] },
    {
      ...(withSecrets && { populate: ['sealedCredentials'] }),
      ...(lock && { lockMode: LockMode.PESSIMISTIC_WRITE }),
    },
  );
  if (connection) return connection;
  throw new Problem('NOT_FOUND', 'There is no such connection.', {
    remedy: 'Check the id or the name, and that the API key belongs to the right organisation.',
  });
}
