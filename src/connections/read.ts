import { type EntityManager, type FilterQuery, LockMode } from '@mikro-orm/postgresql';
import type { Caller } from '../access/caller.ts';
import { Problem } from '../errors.ts';
import { AppConnection } from './app-connection.entity.ts';
import { decodeCursor, encodeCursor } from './cursor.ts';
import type { ConnectionParts } from './parts.ts';

/** Which connections to list. */
export interface ListConnections {
  /** A project's; null for those without a project; absent for all of the organisation. */
  projectId?: string | null | undefined;
  /** The id of an app; absent for every app. */
  app?: string | null | undefined;
  /** 1 to 100. */
  first: number;
  /** `endCursor` of the page before. */
  after?: string | null | undefined;
}

/** Part of a list, in order of name, then id. */
export interface ConnectionPage {
  nodes: AppConnection[];
  hasNextPage: boolean;
  endCursor: string | null;
  /** How many there are on all pages; a query of its own. */
  count(): Promise<number>;
}

/** @throws Problem `NOT_FOUND`, `FORBIDDEN` */
export async function getConnection(
  { database }: ConnectionParts,
  caller: Caller,
  id: string,
): Promise<AppConnection> {
  caller.assertMay('connections:read');
  return findConnection(database.fork(), caller, { id });
}

/**
 * @param projectId null for a connection without a project
 * @throws Problem `NOT_FOUND`, `FORBIDDEN`
 */
export async function getConnectionByName(
  { database }: ConnectionParts,
  caller: Caller,
  name: string,
  projectId: string | null,
): Promise<AppConnection> {
  caller.assertMay('connections:read');
  return findConnection(database.fork(), caller, { name, projectId });
}

/** @throws Problem `BAD_USER_INPUT` (the cursor), `FORBIDDEN` */
export async function listConnections(
  { database }: ConnectionParts,
  caller: Caller,
  options: ListConnections,
): Promise<ConnectionPage> {
  caller.assertMay('connections:read');
  const where: FilterQuery<AppConnection> = {
    orgId: caller.orgId,
    deletedAt: null,
    ...(options.projectId !== undefined && { projectId: options.projectId }),
    ...(options.app && { app: options.app }),
  };
  const after = options.after ? decodeCursor(options.after) : null;
  // "name >= ?" is implied by the rest, but it is what lets the index find the start of the page.
  const beyond: FilterQuery<AppConnection> = after
    ? { name: { $gte: after.name }, $or: [{ name: { $gt: after.name } }, { id: { $gt: after.id } }] }
    : {};
  const found = await database
    .fork()
    .find(
      AppConnection,
      { $and: [where, beyond] },
      { orderBy: { name: 'asc', id: 'asc' }, limit: options.first + 1 },
    );
  const nodes = found.slice(0, options.first);
  const last = nodes.at(-1);
  return {
    nodes,
    hasNextPage: found.length > options.first,
    endCursor: last ? encodeCursor(last) : null,
    count: () => database.fork().count(AppConnection, where),
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
