import type { EntityManager } from '@mikro-orm/postgresql';
import type { AuditAction } from '../../audit/audit-event.entity.ts';
import { appendEvent } from '../../audit/hash-chain.ts';
import { AppError } from '../../common/errors.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import { type FindOptions, findConnection } from './find-connection.ts';

/** The connection to change. */
export interface ChangeTarget {
  id: string;
  /** The id of an app: a connection to another app is not found. */
  app?: string;
  /** The version that the client has read. Absent or null: the last change wins. */
  version?: number | null | undefined;
}

/** A change of a connection. */
export interface LockedUpdate {
  target: ChangeTarget;
  action: AuditAction;
  find?: Pick<FindOptions, 'deleted'>;
  /** Applies the change. Returns the names of the changed fields, none if there is nothing to change. */
  apply: (connection: AppConnection, em: EntityManager) => string[];
  /** Runs in the transaction after the change is stored. Not called if there is nothing to change. */
  afterUpdate?: (em: EntityManager, connection: AppConnection) => Promise<void>;
}

/**
 * Changes a connection under a row lock, in one transaction with its audit event, and increments its version.
 *
 * @throws AppError `NOT_FOUND`, `VERSION_CONFLICT`, `RATE_LIMITED`
 * @throws MacMismatch if the row was changed outside this server
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
    // Without this, the change would sign whatever was written to the row outside this server.
    (await deps.vault.rowMacs(em)).verify(em, AppConnection, connection);
    assertVersion(connection, target);
    const fields = apply(connection, em);
    if (fields.length > 0) {
      connection.version += 1;
      connection.updatedAt = new Date();
    }
    await em.flush();
    // No event and no outcome without a change: else a caller could fill the database by repeating it under new keys.
    if (fields.length > 0) {
      await afterUpdate?.(em, connection);
      const { name: connectionName, projectId } = connection;
      const event = { ...caller.actor, action, connectionId: id, connectionName, projectId, fields };
      await appendEvent(em, deps, { ...event, outcome: 'OK' });
    }
    return connection;
  });
}

/** @throws AppError `VERSION_CONFLICT` if the client has read another version */
export function assertVersion(connection: AppConnection, { version }: ChangeTarget): void {
  if (version == null || version === connection.version) return;
  const message = `The connection has changed since you read it; its version is ${connection.version} now.`;
  throw new AppError('VERSION_CONFLICT', message, {
    currentVersion: connection.version,
    remedy: 'Read the connection again, apply your change to it, and send that version.',
  });
}
