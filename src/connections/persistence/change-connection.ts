import type { Credentials } from '../../apps/app.ts';
import type { AuditAction } from '../../audit/audit-event.entity.ts';
import { storeWithEvents } from '../../audit/audited-change.ts';
import { withRequestContext } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { deleteRow, updateRow } from '../../database/row-statements.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { sealUnderKey } from '../credentials/seal.ts';
import type { ConnectionDeps } from '../deps.ts';
import { type FindOptions, findConnection } from './find-connection.ts';
import type { BuildOutcome } from './idempotency.ts';

/** The connection to change. */
export interface ChangeTarget {
  id: string;
  /** The id of an app: a connection to another app is not found. */
  app?: string;
  /** The version that the client has read. Absent or null: the last change wins. */
  version?: number | null | undefined;
}

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
  credentials?: Credentials | undefined;
  /** Whether the row is removed. */
  isRemoved?: boolean;
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
  { target, action, find, apply, credentials, isRemoved, buildOutcome }: ConnectionUpdate,
): Promise<AppConnection> {
  const { id, app } = target;
  await deps.limits.checkChange(caller);
  const attempt = withRequestContext({ ...caller.actor, action, connectionId: id, outcome: 'OK' });
  return storeWithEvents(deps, caller.orgId, {
    row: { entity: AppConnection, id },
    prepare: async (em, { sealKeyId }) => {
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
      if (credentials)
        Object.assign(connection, await sealUnderKey(deps, em, sealKeyId, connection, credentials));
      connection.version += 1;
      connection.updatedAt = currentTime();
      connection.mac = macs.signed(em, AppConnection, connection).mac;
      const columns = Object.keys(connection) as (keyof AppConnection & string)[];
      const changed = columns.filter((name) => connection[name] !== before[name]);
      const { name: connectionName, projectId } = connection;
      return {
        events: [{ ...attempt, connectionName, projectId, fields }],
        update: isRemoved
          ? deleteRow(em, AppConnection, connection)
          : updateRow(em, AppConnection, connection, changed),
        inserts: buildOutcome?.(connection) ?? [],
        readMac: before.mac,
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
