import type { Caller } from '../access/caller.ts';
import { Problem } from '../errors.ts';
import { AppConnection } from './app-connection.entity.ts';
import { type ChangeTarget, changeConnection } from './change.ts';
import type { ConnectionParts } from './parts.ts';
import { keepingNamesApart } from './place.ts';
import { findConnection } from './read.ts';

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
 * @throws Problem `FORBIDDEN`, `NOT_FOUND`, `VERSION_CONFLICT`
 */
export async function deleteConnection(
  parts: ConnectionParts,
  caller: Caller,
  target: ChangeTarget,
  purge: boolean,
): Promise<Deleted> {
  caller.assertMay('connections:write');
  const { id } = target;
  if (purge) {
    const remove: Parameters<typeof changeConnection>[3] = (connection, em) => {
      em.remove(connection);
      return false;
    };
    await changeConnection(parts, caller, target, remove, { deleted: 'too' });
    return { id, restorableUntil: null };
  }
  const deletedAt = new Date();
  await changeConnection(parts, caller, target, (connection) => {
    connection.deletedAt = deletedAt;
    return true;
  });
  return { id, restorableUntil: restorableUntil(parts, deletedAt) };
}

/**
 * Brings a deleted connection back, under its old name or another.
 *
 * @throws Problem `FORBIDDEN`, `NOT_FOUND` (also when it is too late), `NAME_TAKEN`
 */
export async function restoreConnection(
  parts: ConnectionParts,
  caller: Caller,
  id: string,
  name: string | null | undefined,
): Promise<AppConnection> {
  caller.assertMay('connections:write');
  const place = await findConnection(parts.database.fork(), caller, { id }, { deleted: 'only' });
  return keepingNamesApart(place, ['name'], () =>
    changeConnection(
      parts,
      caller,
      { id },
      (connection) => {
        const until = connection.deletedAt && restorableUntil(parts, connection.deletedAt);
        if (!until || until <= new Date()) throw tooLate();
        connection.deletedAt = null;
        connection.name = name ?? connection.name;
        return true;
      },
      { deleted: 'only' },
    ),
  );
}

/** Really removes every connection whose time to be restored is over. */
export async function purgeExpired(
  parts: Pick<ConnectionParts, 'database' | 'deletedRetentionDays'>,
): Promise<number> {
  const before = new Date(Date.now() - parts.deletedRetentionDays * dayMs);
  return parts.database.fork().nativeDelete(AppConnection, { deletedAt: { $lte: before } });
}

function restorableUntil({ deletedRetentionDays }: ConnectionParts, deletedAt: Date): Date {
  return new Date(deletedAt.getTime() + deletedRetentionDays * dayMs);
}

function tooLate(): Problem {
  return new Problem('NOT_FOUND', 'The connection was deleted too long ago to be restored.', {
    remedy: 'Create it anew.',
  });
}
