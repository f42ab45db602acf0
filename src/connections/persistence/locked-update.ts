import type { EntityManager } from '@mikro-orm/postgresql';
import type { AuditAction } from '../../audit/audit-event.entity.ts';
import { appendEvent } from '../../audit/hash-chain.ts';
import { AppError } from '../../common/errors.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import { type FindOptions, findConnection } from './find-connection.ts';

/** Which connection to change, and what version of it the caller has seen; without one, the last change wins. */
export interface ChangeTarget {
  id: string;
  /** The id of an app, where a connection to another app is not found. */
  app?: string;
  version?: number | null | undefined;
}

/** A change, and how it is told afterwards. */
export interface LockedUpdate {
  target: ChangeTarget;
  action: AuditAction;
  find?: Pick<FindOptions, 'deleted'>;
  /** Makes the change, and gives the names of the fields that it changed; none, if there was nothing to change. */
  apply: (connection: AppConnection, em: EntityManager) => string[];
  /**
   * What else belongs to the change once it is stored: what is kept for when the request is repeated. It is not called
   * when there was nothing to change.
   */
  afterUpdate?: (em: EntityManager, connection: AppConnection) => Promise<void>;
}

/**
 * Changes one connection in one transaction, while nobody else can; every change makes the version one more.
 *
 * @throws AppError `NOT_FOUND`, `VERSION_CONFLICT`, `RATE_LIMITED`
 * @throws MacMismatch when the row is not as this server wrote it
 */
export async function updateLocked(
  deps: ConnectionDeps,
  caller: Caller,
  { target, action, find, apply, afterUpdate }: LockedUpdate,
): Promise<AppConnection> {
  const { id, app } = target;
  await deps.limits.checkChange(caller);
  return deps.database.forOrganisation(caller.orgId).transactional(async (em) => {
    const where = { id, ...(app && { app }) };
    const connection = await findConnection(em, caller, where, { ...find, withSecrets: true, lock: true });
    // What an editor of the database has written would be signed with the change.
    (await deps.vault.rowMacs(em)).verify(em, AppConnection, connection);
    assertVersion(connection, target);
    const fields = apply(connection, em);
    if (fields.length > 0) {
      connection.version += 1;
      connection.updatedAt = new Date();
    }
    await em.flush();
    // What changed nothing leaves nothing: else a caller could fill the database by repeating it under new keys.
    if (fields.length > 0) {
      await afterUpdate?.(em, connection);
      const { name: connectionName, projectId } = connection;
      const event = { ...caller.actor, action, connectionId: id, connectionName, projectId, fields };
      await appendEvent(em, deps, { ...event, outcome: 'OK' });
    }
    return connection;
  });
}

/** @throws AppError `VERSION_CONFLICT` when the caller has seen another version */
export function assertVersion(connection: AppConnection, { version }: ChangeTarget): void {
  if (version == null || version === connection.version) return;
  const message = `The connection has changed since you read it; its version is ${connection.version} now.`;
  throw new AppError('VERSION_CONFLICT', message, {
    currentVersion: connection.version,
    remedy: 'Read the connection again, apply your change to it, and send that version.',
  });
}
