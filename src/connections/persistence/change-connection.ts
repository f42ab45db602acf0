import type { EntityManager } from '@mikro-orm/postgresql';
import type { AuditAction } from '../../audit/audit-event.entity.ts';
import { type PreparedChange, storeWithEvents } from '../../audit/audited-change.ts';
import { withRequestContext } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { deleteRow } from '../../database/row-statements.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { StoredCredentials } from '../credentials/seal.ts';
import { clearedFailure } from '../credentials/verify.ts';
import type { ConnectionDeps } from '../deps.ts';
import { type FindOptions, findConnection } from './find-connection.ts';
import type { BuildOutcome } from './idempotency.ts';
import { signedUpdate } from './signed-update.ts';

/** The connection to change. */
export interface ChangeTarget {
  id: string;
  /** The id of an app: a connection to another app is not found. */
  app?: string;
  /** The version that the client has read. Absent or null: the last change wins. */
  version?: number | null | undefined;
}

/**
 * Prepares what is stored together with a change of a connection, or not at all: events that follow its own, and statements. It
 * is called again if another change is stored first.
 *
 * @throws errors with which the change fails
 */
export type PrepareAlongside = (
  em: EntityManager,
  connection: AppConnection,
) => Promise<Pick<PreparedChange<unknown>, 'events' | 'updates'>>;

/** A change of a connection. */
export interface ConnectionUpdate {
  target: ChangeTarget;
  action: AuditAction;
  find?: Pick<FindOptions, 'deleted'>;
  /**
   * Applies the change. It is called again if another change is stored first. Returns the names of the changed fields, none
   * if there is nothing to change.
   */
  apply: (connection: AppConnection) => string[];
  /** The credentials that `apply` sets, encrypted. */
  credentials?: StoredCredentials | undefined;
  /** Whether the row is removed. */
  isRemoved?: boolean;
  /** What is stored with the change, if there is anything to change. */
  alongside?: PrepareAlongside | undefined;
  /** Stores the outcome with the change, if there is anything to change. */
  buildOutcome?: (connection: AppConnection) => ReturnType<BuildOutcome>;
}

/**
 * Changes a connection and appends its audit event in one statement, and increments its version.
 *
 * @throws AppError `NOT_FOUND`, `VERSION_CONFLICT`, `RATE_LIMITED`
 * @throws MacMismatch if the row was changed outside this server
 */
export async function changeConnection(
  deps: ConnectionDeps,
  caller: Caller,
  { target, action, find, apply, credentials, isRemoved, alongside, buildOutcome }: ConnectionUpdate,
): Promise<AppConnection> {
  const { id, app } = target;
  await deps.limits.checkChange(caller);
  const attempt = withRequestContext({ ...caller.actor, action, connectionId: id, outcome: 'OK' });
  return storeWithEvents(deps, caller.orgId, {
    row: { entity: AppConnection, id },
    prepare: async (em, trail) => {
      const where = { id, ...(app && { app }) };
      const connection = await findConnection(em, caller, where, { ...find, withSecrets: true });
      const macs = await deps.vault.rowMacs(em);
      // Without this, the change would sign whatever was written to the row outside this server.
      macs.verify(em, AppConnection, connection);
      assertVersion(connection, target);
      const before = { ...connection };
      const fields = apply(connection);
      // No event and no outcome without a change: else a caller could fill the database by repeating it under new keys.
      if (fields.length === 0) return { events: [], result: connection };
      const changedFields = [...fields, ...clearedFailure(before, connection)];
      connection.version += 1;
      connection.updatedAt = currentTime();
      const replacement = { before, after: connection, credentials };
      const { update, readMac } = await signedUpdate(deps, em, trail.sealKeyId, replacement);
      const { name: connectionName, projectId } = connection;
      const { events: further = [], updates = [] } = (await alongside?.(em, connection)) ?? {};
      const removal = isRemoved ? { wasDeleted: before.deletedAt !== null } : undefined;
      const forOwner =
        removal || fields.includes('owner')
          ? await deps.prepareOwnerNotice(em, connection, removal, trail)
          : [];
      return {
        events: [{ ...attempt, connectionName, projectId, fields: changedFields }, ...further],
        updates: [isRemoved ? deleteRow(em, AppConnection, connection) : update, ...updates],
        inserts: [...(buildOutcome?.(connection) ?? []), ...forOwner],
        readMac,
        result: connection,
      };
    },
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
