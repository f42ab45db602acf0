import type { Caller } from '../access/caller.ts';
import { type AuditAction, AuditEvent, AuditHead } from '../audit/audit-event.entity.ts';
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
} as const satisfies Record<AuditAction, string>;

/** One change of a connection. */
export interface ConnectionChange {
  /** Give this as `after` to hear of everything since. */
  eventId: string;
  kind: (typeof changeKinds)[AuditAction];
  connectionId: string;
  /** As it is now; null when it is deleted. */
  appConnection: AppConnection | null;
}

const batchSize = 100;

/**
 * Every change from now on, or since the event `after`, in order and without a gap, until the caller has had enough
 * or the server stops.
 *
 * @param options `projectId`: a project's only; null for those without a project; absent for all
 * @throws Problem `FORBIDDEN`, `BAD_USER_INPUT` (`after`)
 */
export async function watchConnections(
  parts: ConnectionParts,
  caller: Caller,
  options: { projectId?: string | null | undefined; after?: string | null | undefined },
): Promise<AsyncGenerator<ConnectionChange>> {
  caller.assertMay('connections:read');
  const { orgId } = caller;
  const start = options.after
    ? seqOf(options.after)
    : ((await parts.database.fork().findOne(AuditHead, { orgId }))?.seq ?? 0);
  return changesSince(parts, orgId, start, options.projectId);
}

async function* changesSince(
  { database }: ConnectionParts,
  orgId: string,
  start: number,
  projectId: string | null | undefined,
): AsyncGenerator<ConnectionChange> {
  const waiting = database.changes.listen(orgId);
  let seen = start;
  try {
    while (!database.changes.isClosed) {
      const em = database.fork();
      const events = await em.find(
        AuditEvent,
        { orgId, seq: { $gt: seen } },
        { orderBy: { seq: 'asc' }, limit: batchSize },
      );
      for (const { seq, action, connectionId, fields, projectId: place } of events) {
        seen = seq;
        // What was refused has changed nothing.
        if (fields.length === 0 || !connectionId) continue;
        if (projectId !== undefined && (place ?? null) !== projectId) continue;
        yield {
          eventId: encodePlace('change', seq),
          kind: changeKinds[action],
          connectionId,
          appConnection: await em.findOne(AppConnection, { id: connectionId, orgId, deletedAt: null }),
        };
      }
      if (events.length === 0) await waiting.next();
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
