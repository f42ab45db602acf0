import { auditRefusals } from '../../audit/record-refusals.ts';
import { Problem } from '../../common/errors.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionParts } from '../deps.ts';
import { assertMaySelect, type FieldPaths, restorePayloadFields } from '../payload-authorization.ts';
import { findConnection } from '../persistence/find-connection.ts';
import { type Keep, once } from '../persistence/idempotency.ts';
import { type ChangeTarget, changeConnection } from '../persistence/locked-update.ts';
import { keepingNamesApart } from '../persistence/project-scope.ts';

const dayMs = 86_400_000;

/** What became of a connection that was deleted. */
export interface Deleted {
  id: string;
  /** Until when it can be restored; null when it is gone for good. */
  restorableUntil: Date | null;
}

/**
 * Hides a connection at once and frees its name; or, with `purge`, really removes it, also one that is hidden.
 *
 * @throws Problem `FORBIDDEN`, `NOT_FOUND`, `VERSION_CONFLICT`, `IDEMPOTENCY_CONFLICT`
 */
export async function deleteConnection(
  parts: ConnectionParts,
  caller: Caller,
  target: ChangeTarget & { purge: boolean; idempotencyKey?: string | null | undefined },
): Promise<Deleted> {
  const { id, version, purge, idempotencyKey } = target;
  const action = purge ? 'PURGE_CONNECTION' : 'DELETE_CONNECTION';
  return auditRefusals(parts, caller, { action, connectionId: id }, () => {
    caller.assertMay('connections:write');
    const request = { delete: id, version, purge };
    const work = async (keep: Keep): Promise<Deleted> => {
      const deletedAt = new Date();
      const deleted = { id, restorableUntil: purge ? null : restorableUntil(parts, deletedAt) };
      await changeConnection(parts, caller, {
        target,
        action,
        find: purge ? { deleted: 'too' } : {},
        apply: (connection, em) => {
          if (purge) em.remove(connection);
          else connection.deletedAt = deletedAt;
          return ['deletedAt'];
        },
        keep: (em, { projectId }) => keep(em, () => ({ ...deleted, projectId })),
      });
      return deleted;
    };
    return once(parts, caller, { idempotencyKey, request }, work, ({ restorableUntil: until }) => ({
      id,
      restorableUntil: typeof until === 'string' ? new Date(until) : null,
    }));
  });
}

/**
 * Brings a deleted connection back, under its old name or another.
 *
 * @param target with the id of an app, where a connection to another app is not found
 * @param selected the fields that the caller wants to be shown, by their paths
 * @throws Problem `FORBIDDEN`, `NOT_FOUND` (also when it is too late), `NAME_TAKEN`
 */
export async function restoreConnection(
  parts: ConnectionParts,
  caller: Caller,
  target: { id: string; app?: string },
  name: string | null | undefined,
  selected: FieldPaths = [],
): Promise<AppConnection> {
  const action = 'RESTORE_CONNECTION';
  return auditRefusals(parts, caller, { action, connectionId: target.id }, async () => {
    caller.assertMay('connections:write');
    assertMaySelect(caller, restorePayloadFields(name), selected);
    const place = await findConnection(parts.database.fork(caller.orgId), caller, target, {
      deleted: 'only',
    });
    return keepingNamesApart(place, ['name'], () =>
      changeConnection(parts, caller, {
        target,
        action,
        find: { deleted: 'only' },
        apply: (connection) => {
          const until = connection.deletedAt && restorableUntil(parts, connection.deletedAt);
          if (!until || until <= new Date()) throw tooLate();
          const isRenamed = name != null && name !== connection.name;
          connection.deletedAt = null;
          if (isRenamed) connection.name = name;
          return isRenamed ? ['deletedAt', 'name'] : ['deletedAt'];
        },
      }),
    );
  });
}

/** Connections that were deleted at this time or before can no longer be restored. */
export function retentionEnd(deletedRetentionDays: number): Date {
  return new Date(Date.now() - deletedRetentionDays * dayMs);
}

function restorableUntil({ deletedRetentionDays }: ConnectionParts, deletedAt: Date): Date {
  return new Date(deletedAt.getTime() + deletedRetentionDays * dayMs);
}

function tooLate(): Problem {
  return new Problem('NOT_FOUND', 'The connection was deleted too long ago to be restored.', {
    remedy: 'Create it anew.',
  });
}
