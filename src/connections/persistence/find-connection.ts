import { type EntityManager, type FilterQuery, LockMode } from '@mikro-orm/postgresql';
import { AppError } from '../../common/errors.ts';
import { joinAnd, type Sql, sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import { connectionVisibilityConditions } from './list-conditions.ts';

/**
 * A connection as it is now, for showing it.
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

/** How to find a connection: `withSecrets` loads what verifying its row takes; `lock` keeps others from changing it until the transaction ends. */
export interface FindOptions {
  withSecrets?: boolean;
  lock?: boolean;
  /** Deleted ones too, or only them; those that are not deleted unless said. */
  deleted?: 'too' | 'only';
}

/**
 * A connection to be worked with, of the caller's organisation, in one of the projects that the caller is limited to.
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
    { $and: [where, { orgId: caller.orgId, ...caller.inProjects }, hidden] },
    {
      ...(withSecrets && { populate: ['sealedCredentials', 'mac'] }),
      ...(lock && { lockMode: LockMode.PESSIMISTIC_WRITE }),
    },
  );
  if (connection) return connection;
  throw connectionNotFound();
}

/** What is said of a connection that is not there for this caller, for whatever reason. */
export function connectionNotFound(): AppError {
  return new AppError('NOT_FOUND', 'There is no such connection.', {
    remedy: 'Check the id or the name, and that the API key belongs to the right organisation and project.',
  });
}
