import { type AuditAction, AuditEvent, AuditHead } from '../../audit/audit-event.entity.ts';
import { decodeEventCursor, encodeEventCursor } from '../../audit/event-cursor.ts';
import { withForbiddenAudit } from '../../audit/record-refusals.ts';
import { validationError } from '../../common/errors.ts';
import type { RowReader } from '../../database/row-reader.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';

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
  /** As it was at most `checkEveryMs` ago; null when it is deleted. */
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
 *   see. `assertStillAuthenticated` throws once the caller's credential lets nobody in any more.
 * @throws AppError `FORBIDDEN`, `BAD_USER_INPUT` (`after`), or while listening what `assertStillAuthenticated` throws
 */
export async function subscribeToConnections(
  deps: ConnectionDeps,
  caller: Caller,
  options: SubscribeOptions,
): Promise<AsyncGenerator<ConnectionChange>> {
  const { projectId, after } = options;
  return withForbiddenAudit(deps, caller, { action: 'READ_CONNECTIONS', projectId }, async () => {
    caller.requireScope('connections:read');
    if (projectId !== undefined) caller.requireProject(projectId, ['projectId']);
    const { orgId } = caller;
    const start = after
      ? parseChangeCursor(after)
      : ((await deps.database.forOrganisation(orgId).findOne(AuditHead, { orgId }))?.seq ?? 0);
    return changesSince(deps, caller, start, options);
  });
}

/** What to listen to, and for how long. */
export interface SubscribeOptions {
  projectId?: string | null | undefined;
  after?: string | null | undefined;
  assertStillAuthenticated: () => Promise<unknown>;
}

async function* changesSince(
  { database, scheduler }: ConnectionDeps,
  caller: Caller,
  start: number,
  options: SubscribeOptions,
): AsyncGenerator<ConnectionChange> {
  const { orgId } = caller;
  const { assertStillAuthenticated } = options;
  const waiting = database.changes.listen(orgId);
  let seen = start;
  try {
    for (let isDue = true; !database.changes.isClosed; isDue = await waiting.next(checkEveryMs)) {
      await assertStillAuthenticated();
      // As long as there may be more than one batch.
      for (let length = isDue ? batchSize : 0; length === batchSize; ) {
        const events = await database.select(
          AuditEvent,
          orgId,
          sql`where (org_id, seq) > (${orgId}::uuid, ${seen}::int) and org_id = ${orgId}
            order by org_id, seq limit ${batchSize}`,
          { isScan: true, only: eventColumns },
        );
        length = events.length;
        seen = events.at(-1)?.seq ?? seen;
        yield* describeChanges(
          database,
          caller,
          events.filter((event) => isVisibleChange(event, caller, options)),
          async () => {
            await scheduler.waitForTurn(orgId);
            // Between two changes a slow reader may take longer than a revoked key may live.
            await assertStillAuthenticated();
          },
        );
      }
    }
  } finally {
    waiting.stop();
  }
}

const eventColumns = ['seq', 'action', 'connectionId', 'fields', 'projectId'] as const;

/** What is read of an event. */
type WatchedEvent = Pick<AuditEvent, (typeof eventColumns)[number]>;

function toChangeKind(action: AuditAction): ConnectionChange['kind'] | undefined {
  return (changeKinds as { [action in AuditAction]?: ConnectionChange['kind'] })[action];
}

function isVisibleChange(
  { action, connectionId, fields, projectId: place = null }: WatchedEvent,
  { projectIds }: Caller,
  { projectId }: SubscribeOptions,
): boolean {
  // What was refused has changed nothing.
  if (!toChangeKind(action) || !connectionId || fields.length === 0) return false;
  if (projectId !== undefined && place !== projectId) return false;
  return !projectIds || (place !== null && projectIds.has(place));
}

/**
 * The changes of a batch, with the connections as they were looked up together at most `checkEveryMs` ago.
 *
 * @param beforeEach is waited for before each of them
 */
async function* describeChanges(
  database: RowReader,
  { orgId }: Caller,
  events: readonly WatchedEvent[],
  beforeEach: () => Promise<void>,
): AsyncGenerator<ConnectionChange> {
  let connections = new Map<string, AppConnection>();
  let lookedUpAt = Number.NEGATIVE_INFINITY;
  for (const [index, { seq, action, connectionId }] of events.entries()) {
    await beforeEach();
    const kind = toChangeKind(action);
    if (!kind || !connectionId) continue;
    if (performance.now() - lookedUpAt > checkEveryMs) {
      lookedUpAt = performance.now();
      const ids = [...new Set(events.slice(index).map((event) => event.connectionId))];
      const found = await database.select(
        AppConnection,
        orgId,
        sql`where org_id = ${orgId} and deleted_at is null and id = any(${ids}::uuid[])`,
      );
      connections = new Map(found.map((connection) => [connection.id, connection]));
    }
    const appConnection = connections.get(connectionId) ?? null;
    yield { eventId: encodeEventCursor('change', seq), kind, connectionId, appConnection };
  }
}

function parseChangeCursor(after: string): number {
  const seq = decodeEventCursor('change', after);
  if (seq !== undefined) return seq;
  throw validationError([
    { path: ['after'], message: 'This is not an event id. Use "eventId" of the last event.' },
  ]);
}
