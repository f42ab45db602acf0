import type { EntityManager } from '@mikro-orm/postgresql';
import type { Caller } from '../access/caller.ts';
import { Problem } from '../errors.ts';
import type { AppConnection } from './app-connection.entity.ts';
import type { ConnectionParts } from './parts.ts';
import { type FindOptions, findConnection } from './read.ts';

/** Which connection to change, and what version of it the caller has seen; without one, the last change wins. */
export interface ChangeTarget {
  id: string;
  version?: number | null | undefined;
}

/**
 * Changes one connection in one transaction, while nobody else can; every change makes the version one more.
 *
 * @param apply makes the change, and says whether there was anything to change
 * @throws Problem `NOT_FOUND`, `VERSION_CONFLICT`
 */
export async function changeConnection(
  { database }: ConnectionParts,
  caller: Caller,
  target: ChangeTarget,
  apply: (connection: AppConnection, em: EntityManager) => boolean,
  options: FindOptions = {},
): Promise<AppConnection> {
  return database.fork().transactional(async (em) => {
    const connection = await findConnection(em, caller, { id: target.id }, { ...options, lock: true });
    assertVersion(connection, target);
    if (apply(connection, em)) {
      connection.version += 1;
      connection.updatedAt = new Date();
    }
    return connection;
  });
}

/** @throws Problem `VERSION_CONFLICT` when the caller has seen another version */
export function assertVersion(connection: AppConnection, { version }: ChangeTarget): void {
  if (version == null || version === connection.version) return;
  const message = `The connection has changed since you read it: it is at version ${connection.version} now.`;
  throw new Problem('VERSION_CONFLICT', message, {
    currentVersion: connection.version,
    remedy:
      'Read it again, see whether your change still makes sense, and send it with the version you have read.',
  });
}
