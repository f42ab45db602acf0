import type { AuditAction } from '../../audit/audit-event.entity.ts';
import { withForbiddenAudit } from '../../audit/record-refusals.ts';
import type { RowReader } from '../../database/row-reader.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import {
  changesSince,
  checkEveryMs,
  findStart,
  type Located,
  type SubscribeOptions,
  type WatchedEvent,
} from './changes-since.ts';

/** The kind of change of each audited action. */
const changeKinds = {
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

/**
 * Yields every change from now on, or after the event `after`, in order and without gaps, until the client unsubscribes,
 * the caller's credential expires or is revoked, or the server stops.
 *
 * @throws AppError `FORBIDDEN`, `BAD_USER_INPUT` (`after`), and later the errors of `assertStillAuthenticated`
 */
export async function subscribeToConnections(
  deps: ConnectionDeps,
  caller: Caller,
  options: ConnectionOptions,
): Promise<AsyncGenerator<ConnectionChange>> {
  const { projectId, after } = options;
  return withForbiddenAudit(deps, caller, { action: 'READ_CONNECTIONS', projectId }, async () => {
    caller.requireScope('connections:read');
    if (projectId !== undefined) caller.requireProject(projectId, ['projectId']);
    const start = await findStart(deps, caller, after);
    return changesSince<ConnectionChange>(deps, caller, start, options, (events, beforeEach) => {
      const visible = events.filter((event) => isVisibleChange(event, caller, options));
      return describeChanges(deps.database, caller, visible, beforeEach);
    });
  });
}

/** Options of the subscription to changes of connections. */
interface ConnectionOptions extends SubscribeOptions {
  /** Null: connections without a project. Absent: all that the caller may see. */
  projectId?: string | null | undefined;
}

function toChangeKind(action: AuditAction): ConnectionChange['kind'] | undefined {
  const kinds: { [action in AuditAction]?: ConnectionChange['kind'] } = changeKinds;
  return kinds[action];
}

function isVisibleChange(
  { action, connectionId, fields, projectId: eventProject = null }: WatchedEvent,
  caller: Caller,
  { projectId }: ConnectionOptions,
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
): AsyncGenerator<Located<ConnectionChange>> {
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
    yield { seq, change: { kind, connectionId, appConnection } };
  }
}
