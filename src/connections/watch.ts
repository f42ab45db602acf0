import type { Caller } from '../access/caller.ts';
import { type AuditAction, AuditEvent, AuditHead } from '../audit/audit-event.entity.ts';
import { auditForbidden } from '../audit/audited.ts';
import { decodePlace, encodePlace } from '../audit/event-place.ts';
import { badInput } from '../errors.ts';
import { AppConnection } from './app-connection.entity.ts';
import type { ConnectionParts } from './parts.ts';

/** What happened to a connection, by the action that did it. */
export const changeKinds = {
  CREATE_CONNECTION: 'CREATED',
  UPDATE_CONNECTION: 'UPDATED',
  VERIFY_CONNECTION: 'VERIFIED',
  DELETE_CONNECTION: 'DELETED',
  PURGE_CONNECTION: 'DELETED',
  RESTORE_CONNECTION: 'RESTORED',
} as const satisfies { [action in AuditAction]?: string };

/** One change of a connection. */
export interface ConnectionChange {
  /** Give this as `after` to hear of everything since. */
  eventId: string;
  kind: (typeof changeKinds)[keyof typeof changeKinds];
  connectionId: string;
  /** As it is now; null when it is deleted. */
  appConnection: AppConnection | null;
}

const batchSize = 100;

/** A key that was revoked has to be out within five seconds, whatever is believed of it for how long elsewhere. */
const checkEveryMs = 2_000;

/**
 * Every change from now on, or since the event `after`, in order and without a gap, until the caller has had enough,
 * may listen no longer, or the server stops.
 *
 * @param options `projectId`: a project's only; null for those without a project; absent for all that the caller may
 *   see. `assertSignedIn` throws once the caller's credential lets nobody in any more.
 * @throws Problem `FORBIDDEN`, `BAD_USER_INPUT` (`after`), or while listening what `assertSignedIn` throws
 */
export async function watchConnections(
  parts: ConnectionParts,
  caller: Caller,
  options: WatchOptions,
): Promise<AsyncGenerator<ConnectionChange>> {
  const { projectId, after } = options;
  return auditForbidden(parts, caller, { action: 'READ_CONNECTIONS', projectId }, async () => {
    caller.assertMay('connections:read');
    if (projectId !== undefined) caller.assertMayUse(projectId, ['projectId']);
    const { orgId } = caller;
    const start = after
      ? seqOf(after)
      : ((await parts.database.fork(orgId).findOne(AuditHead, { orgId }))?.seq ?? 0);
    return changesSince(parts, caller, start, options);
  });
}

/** What to listen to, and for how long. */
export interface WatchOptions {
  projectId?: string | null | undefined;
  after?: string | null | undefined;
  assertSignedIn: () => Promise<unknown>;
}

async function* changesSince(
  { database }: ConnectionParts,
  caller: Caller,
  start: number,
  { projectId, assertSignedIn }: WatchOptions,
): AsyncGenerator<ConnectionChange> {
  const { orgId } = caller;
  const waiting = database.changes.listen(orgId);
  let seen = start;
  try {
    for (let isDue = true; !database.changes.isClosed; isDue = await waiting.next(checkEveryMs)) {
      await assertSignedIn();
      // As long as there may be more than one batch.
      for (let length = isDue ? batchSize : 0; length === batchSize; ) {
        const em = database.fork(orgId);
        const events = await em.find(
          AuditEvent,
          { orgId, seq: { $gt: seen } },
          { orderBy: { seq: 'asc' }, limit: batchSize },
        );
        length = events.length;
        for (const { seq, action, connectionId, fields, projectId: place = null } of events) {
          seen = seq;
          const kind = (changeKinds as { [action in AuditAction]?: ConnectionChange['kind'] })[action];
          // What was refused has changed nothing.
          if (!kind || !connectionId || fields.length === 0) continue;
          if (projectId !== undefined && place !== projectId) continue;
          if (caller.projectIds && !(place && caller.projectIds.has(place))) continue;
          // Between two changes a slow reader may take longer than a revoked key may live.
          await assertSignedIn();
          const appConnection = await em.findOne(AppConnection, { id: connectionId, orgId, deletedAt: null });
          yield { eventId: encodePlace('change', seq), kind, connectionId, appConnection };
        }
      }
    }
  } finally {
    waiting.stop();
  }
}

function seqOf(after: string): number {
  const seq = decodePlace('change', after);
  if (seq !== undefined) return seq;
  throw badInput([
    { path: ['after'], message: 'This is not an event id; use "eventId" of the last change.' },
  ]);
}
