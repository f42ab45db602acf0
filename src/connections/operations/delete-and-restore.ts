import { withRefusalAudit } from '../../audit/record-refusals.ts';
import { currentTime, currentTimeMs } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import type { SqlStatement } from '../../database/database.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import { type FieldPaths, requireSelectable, restorePayloadFields } from '../payload-authorization.ts';
import { assertVersion, type ChangeTarget, changeConnection } from '../persistence/change-connection.ts';
import { findConnection } from '../persistence/find-connection.ts';
import { type BuildOutcome, runIdempotent } from '../persistence/idempotency.ts';
import { mapNameConflict } from '../persistence/project-and-name.ts';
import { assertUseAcknowledged } from '../usage/acknowledge-use.ts';

const dayMs = 86_400_000;

/** The connection to delete. */
interface DeleteTarget extends ChangeTarget {
  /** Whether the row is removed permanently. */
  purge: boolean;
  /** Whether the caller knows that the connection is in use. */
  acknowledgeUse?: boolean | null | undefined;
  idempotencyKey?: string | null | undefined;
}

/** The result of deleting a connection. */
export interface DeletedConnection {
  id: string;
  /** Until when it can be restored; null if it was purged. */
  restorableUntil: Date | null;
}

/**
 * Soft-deletes a connection and frees its name. With `purge`, removes the row permanently, also of a deleted connection.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `VERSION_CONFLICT`, `IDEMPOTENCY_CONFLICT`, `CONNECTION_IN_USE`
 */
export async function deleteConnection(
  deps: ConnectionDeps,
  caller: Caller,
  target: DeleteTarget,
): Promise<DeletedConnection> {
  const { id, version, purge, acknowledgeUse, idempotencyKey } = target;
  const action = purge ? 'PURGE_CONNECTION' : 'DELETE_CONNECTION';
  return withRefusalAudit(deps, caller, { action, connectionId: id }, () => {
    caller.requireScope('connections:write');
    const request = { delete: id, version, purge, ...(acknowledgeUse && { acknowledgeUse }) };
    const remove = async (buildOutcome: BuildOutcome): Promise<DeletedConnection> => {
      if (!acknowledgeUse) await assertUnused(deps, caller, target);
      const deletedAt = currentTime();
      const deleted = { id, restorableUntil: purge ? null : restorableUntil(deps, deletedAt) };
      await changeConnection(deps, caller, {
        target,
        action,
        find: purge ? { deleted: 'too' } : {},
        apply: (connection) => {
          connection.deletedAt = deletedAt;
          return ['deletedAt'];
        },
        isRemoved: purge,
        // They would work again if the connection was restored.
        alongside: async () => ({ events: [], updates: [deleteSetupLinks(id)] }),
        buildOutcome: ({ projectId }) => buildOutcome(() => ({ ...deleted, projectId })),
      });
      return deleted;
    };
    return runIdempotent(deps, caller, { idempotencyKey, request }, remove, ({ restorableUntil: until }) => ({
      id,
      restorableUntil: typeof until === 'string' ? new Date(until) : null,
    }));
  });
}

/**
 * A connection that is deleted already is not in use.
 *
 * @throws AppError `NOT_FOUND`, `VERSION_CONFLICT`, `CONNECTION_IN_USE`
 */
async function assertUnused(
  deps: ConnectionDeps,
  caller: Caller,
  { id, app, version, purge, acknowledgeUse }: DeleteTarget,
): Promise<void> {
  const em = deps.database.forOrganisation(caller.orgId);
  const connection = await findConnection(
    em,
    caller,
    { id, ...(app && { app }) },
    { ...(purge && { deleted: 'too' }) },
  );
  assertVersion(connection, { id, version });
  if (!connection.deletedAt) await assertUseAcknowledged(deps, caller, id, acknowledgeUse);
}

/**
 * Restores a deleted connection.
 *
 * @param target `app`: the id of an app; a connection to another app is not found
 * @param name a new name; null or absent keeps the old one
 * @param selected the paths of the fields that the client selects
 * @throws AppError `FORBIDDEN`, `NOT_FOUND` (also after the retention period), `NAME_TAKEN`
 */
export async function restoreConnection(
  deps: ConnectionDeps,
  caller: Caller,
  target: { id: string; app?: string },
  name: string | null | undefined,
  selected: FieldPaths = [],
): Promise<AppConnection> {
  const action = 'RESTORE_CONNECTION';
  return withRefusalAudit(deps, caller, { action, connectionId: target.id }, async () => {
    caller.requireScope('connections:write');
    requireSelectable(caller, restorePayloadFields(name), selected);
    if (name != null) caller.requireNamingConnections();
    const scope = await findConnection(deps.database.forOrganisation(caller.orgId), caller, target, {
      deleted: 'only',
    });
    return mapNameConflict(scope, () =>
      changeConnection(deps, caller, {
        target,
        action,
        find: { deleted: 'only' },
        apply: (connection) => {
          const until = connection.deletedAt && restorableUntil(deps, connection.deletedAt);
          if (!until || until <= currentTime()) throw retentionEndedError();
          const isRenamed = name != null && name !== connection.name;
          connection.deletedAt = null;
          if (isRenamed) connection.name = name;
          return isRenamed ? ['deletedAt', 'name'] : ['deletedAt'];
        },
      }),
    );
  });
}

/** The time at or before which a connection must have been deleted to be past its retention. */
export function retentionEnd(deletedRetentionDays: number): Date {
  return new Date(currentTimeMs() - deletedRetentionDays * dayMs);
}

function restorableUntil({ deletedRetentionDays }: ConnectionDeps, deletedAt: Date): Date {
  return new Date(deletedAt.getTime() + deletedRetentionDays * dayMs);
}

function deleteSetupLinks(connectionId: string): SqlStatement {
  return { sql: 'delete from connection_setup_link where connection_id = ?', params: [connectionId] };
}

function retentionEndedError(): AppError {
  return new AppError(
    'NOT_FOUND',
    'The connection can no longer be restored: its retention period has ended.',
    {
      remedy: 'Create a new connection.',
    },
  );
}
