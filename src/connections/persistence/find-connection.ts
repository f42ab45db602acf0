import { type FilterQuery, LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { AppError } from '../../common/errors.ts';
import { joinAnd, type Sql, sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import { connectionVisibilityConditions } from './list-conditions.ts';

/**
 * Reads a connection that the caller may see, without its secrets, as a plain row.
 *
 * @throws AppError `NOT_FOUND`
 */
export async function readConnection(
  { database }: ConnectionDeps,
  caller: Caller,
  where: Sql[],
): Promise<AppConnection> {
  const conditions = joinAnd([...connectionVisibilityConditions(caller), ...where]);
  const [connection] = await database.select(AppConnection, caller.orgId, sql`where ${conditions}`);
  if (connection) return connection;
  throw connectionNotFound();
}

/** Options of finding a connection. */
export interface FindOptions {
  /** Loads the sealed credentials and the MAC, which verifying the row needs. */
  withSecrets?: boolean;
  /** Locks the row until the transaction ends. */
  lock?: boolean;
  /** Includes deleted connections, or finds only them. Absent: neither. */
  deleted?: 'too' | 'only';
}

/**
 * Finds a connection that the caller may see, as an entity of `em`.
 *
 * @throws AppError `NOT_FOUND`
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
    { $and: [where, { orgId: caller.orgId, ...caller.connectionFilter }, hidden] },
    {
      ...(withSecrets && { populate: ['sealedCredentials', 'mac'] }),
      ...(lock && { lockMode: LockMode.PESSIMISTIC_WRITE }),
    },
  );
  if (connection) return connection;
  throw connectionNotFound();
}

/** The error for a connection that does not exist or that the caller may not see. */
export function connectionNotFound(): AppError {
  return new AppError('NOT_FOUND', 'There is no such connection.', {
    remedy:
      'Check the id or the name, and that the API key belongs to the right organisation and project and is not limited to other connections.',
  });
}
