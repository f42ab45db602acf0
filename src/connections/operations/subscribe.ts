import { type AuditAction, AuditEvent, AuditHead } from '../../audit/audit-event.entity.ts';
import { AuditRetention } from '../../audit/audit-retention.entity.ts';
import { decodeEventCursor, encodeEventCursor } from '../../audit/event-cursor.ts';
import { withForbiddenAudit } from '../../audit/record-refusals.ts';
import { validationError } from '../../common/errors.ts';
import { isDatabaseUnavailable } from '../../database/outage.ts';
import type { RowReader } from '../../database/row-reader.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';

/** The kind of change of each audited action. */
export const changeKinds = {
  CREATE_CONNECTION: 'CREATED',
  UPDATE_CONNECTION: 'UPDATED',
  UPDATE_USE_POLICY: 'UPDATED',
  CONVERT_CONNECTION: 'UPDATED',
  CANCEL_CONVERSION: 'UPDATED',
  ROTATE_CONNECTION_KEY: 'UPDATED',
  ACTIVATE_CONNECTION_KEY: 'UPDATED',
  REGISTER_CONNECTION_KEY: 'UPDATED',
  REMOVE_CONNECTION_KEY: 'UPDATED',
  VERIFY_CONNECTION: 'VERIFIED',
  CHECK_CONNECTION: 'VERIFIED',
  REVOKE_TOKEN: 'UPDATED',
  WARN_OF_EXPIRY: 'EXPIRING',
  EXPIRE_CONNECTION: 'EXPIRED',
  DELETE_CONNECTION: 'DELETED',
  PURGE_CONNECTION: 'DELETED',
  RESTORE_CONNECTION: 'RESTORED',
} as const satisfies { [action in AuditAction]?: string };

/** A change of a connection. */
export interface ConnectionChange {
  /** The cursor of this change: as `after`, it continues with the next one. */
  eventId: string;
  kind: (typeof changeKinds)[keyof typeof changeKinds];
  connectionId: string;
  /** The connection as of at most `checkEveryMs` ago; null if it is deleted. */
  appConnection: AppConnection | null;
}

/** Small, because a batch and its connections arrive at once, and subscribers that catch up would delay other organisations. */
const batchSize = 10;

/** A revoked API key must stop working within five seconds, caches included; this is the part of the subscription. */
const checkEveryMs = 2_000;

/**
 * Yields every change from now on, or after the event `after`, in order and without gaps, until the client unsubscribes,
 * the caller's credential expires or is revoked, or the server stops.
 *
 * @throws AppError `FORBIDDEN`, `BAD_USER_INPUT` (`after`), and later the errors of `assertStillAuthenticated`
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
    const start =
      after != null
        ? await findStart(deps, orgId, after)
        : ((await deps.database.forOrganisation(orgId).findOne(AuditHead, { orgId }))?.seq ?? 0);
    return changesSince(deps, caller, start, options);
  });
}

/** Options of a subscription. */
export interface SubscribeOptions {
  /** Null: connections without a project. Absent: all that the caller may see. */
  projectId?: string | null | undefined;
  /** `eventId` of the last change that the client received. */
  after?: string | null | undefined;
  /** Throws if the caller's credential is no longer valid. */
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
  const beforeEach = async () => {
    await scheduler.waitForTurn(orgId);
    // A slow client can take longer for one change than a revoked key may keep working.
    await assertStillAuthenticated();
  };
  const notifications = database.changes.listen(orgId);
  let lastSeq = start;
  let isDue = true;
  try {
    while (!database.changes.isClosed) {
      try {
        await assertStillAuthenticated();
        // A full batch can be followed by another one.
        for (let length = isDue ? batchSize : 0; length === batchSize; ) {
          await scheduler.waitForTurn(orgId);
          const events = await database.select(
            AuditEvent,
            orgId,
            sql`where (org_id, seq) > (${orgId}::uuid, ${lastSeq}::int) and org_id = ${orgId}
              order by org_id, seq limit ${batchSize}`,
            { isScan: true, properties: eventColumns },
          );
          length = events.length;
          const visible = events.filter((event) => isVisibleChange(event, caller, options));
          for await (const { seq, ...change } of describeChanges(database, caller, visible, beforeEach)) {
            lastSeq = seq;
            yield { ...change, eventId: encodeEventCursor('change', seq) };
          }
          lastSeq = events.at(-1)?.seq ?? lastSeq;
        }
        isDue = false;
      } catch (error) {
        // The changes that are stored meanwhile are read when the database is available again, e.g. after a failover.
        if (!isDatabaseUnavailable(error)) throw error;
      }
      isDue = (await notifications.next(checkEveryMs)) || isDue;
    }
  } finally {
    notifications.stop();
  }
}

const eventColumns = ['seq', 'action', 'connectionId', 'fields', 'projectId'] as const;

/** The columns of an event that a subscription reads. */
type WatchedEvent = Pick<AuditEvent, (typeof eventColumns)[number]>;

function toChangeKind(action: AuditAction): ConnectionChange['kind'] | undefined {
  return (changeKinds as { [action in AuditAction]?: ConnectionChange['kind'] })[action];
}

function isVisibleChange(
  { action, connectionId, fields, projectId: eventProject = null }: WatchedEvent,
  caller: Caller,
  { projectId }: SubscribeOptions,
): boolean {
  // Events of refused attempts have no changed fields.
  if (!toChangeKind(action) || !connectionId || fields.length === 0) return false;
  if (projectId !== undefined && eventProject !== projectId) return false;
  return caller.maySeeConnection({ id: connectionId, projectId: eventProject });
}

/**
 * Yields the changes of a batch. The connections are read together, and again if the client has taken longer than
 * `checkEveryMs`.
 *
 * @param beforeEach runs before each change
 */
async function* describeChanges(
  database: RowReader,
  { orgId }: Caller,
  events: readonly WatchedEvent[],
  beforeEach: () => Promise<void>,
): AsyncGenerator<Omit<ConnectionChange, 'eventId'> & { seq: number }> {
  let connections = new Map<string, AppConnection>();
  let readAt = Number.NEGATIVE_INFINITY;
  for (const [index, { seq, action, connectionId }] of events.entries()) {
    await beforeEach();
    const kind = toChangeKind(action);
    if (!kind || !connectionId) continue;
    if (performance.now() - readAt > checkEveryMs) {
      readAt = performance.now();
      const ids = [...new Set(events.slice(index).map((event) => event.connectionId))];
      const found = await database.select(
        AppConnection,
        orgId,
        sql`where org_id = ${orgId} and deleted_at is null and id = any(${ids}::uuid[])`,
      );
      connections = new Map(found.map((connection) => [connection.id, connection]));
    }
    const appConnection = connections.get(connectionId) ?? null;
    yield { seq, kind, connectionId, appConnection };
  }
}

/**
 * The retention of audit events may have deleted changes that the client has not received. The client must not believe that it has all.
 */
async function findStart({ database }: ConnectionDeps, orgId: string, after: string): Promise<number> {
  const start = parseChangeCursor(after);
  const deleted = await database.forOrganisation(orgId).findOne(AuditRetention, { orgId });
  if (!deleted || start >= deleted.seq) return start;
  const message =
    'Events after this event id are older than AUDIT_RETENTION_DAYS, and deleted. Read the connections again, and subscribe without "after".';
  throw validationError([{ path: ['after'], message }]);
}

function parseChangeCursor(after: string): number {
  const seq = decodeEventCursor('change', after);
  if (seq !== undefined) return seq;
  throw validationError([
    { path: ['after'], message: 'This is not an event id. Use "eventId" of the last event.' },
  ]);
}
