import { AuditEvent, AuditHead } from '../../audit/audit-event.entity.ts';
import { AuditRetention } from '../../audit/audit-retention.entity.ts';
import { decodeEventCursor, encodeEventCursor } from '../../audit/event-cursor.ts';
import { validationError } from '../../common/errors.ts';
import { isDatabaseUnavailable } from '../../database/outage.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import type { ConnectionDeps } from '../deps.ts';

/** Small, because a batch and its connections arrive at once, and subscribers that catch up would delay other organisations. */
const batchSize = 10;

/** A revoked API key must stop working within five seconds, caches included; this is the part of the subscription, in milliseconds. */
export const checkEveryMs = 2_000;

const eventColumns = [
  'seq',
  'action',
  'connectionId',
  'fields',
  'projectId',
  'outcome',
  'targetName',
] as const;

/** The columns of an event that a subscription reads. */
export type WatchedEvent = Pick<AuditEvent, (typeof eventColumns)[number]>;

/** Options of a subscription. */
export interface SubscribeOptions {
  /** `eventId` of the last change that the client received. */
  after?: string | null | undefined;
  /** Throws if the caller's credential is no longer valid. */
  assertStillAuthenticated: () => Promise<unknown>;
  /** Aborts when the client disconnects. */
  signal?: AbortSignal | undefined;
}

/** A change with the number of its event in the trail. */
export interface Located<Change> {
  seq: number;
  change: Omit<Change, 'eventId'>;
}

/**
 * Yields the changes after an event, in order and without gaps, until the client unsubscribes, the caller's credential expires or is
 * revoked, or the server stops.
 *
 * @param describe yields the changes of a batch of events; it calls `beforeEach` before each one
 */
export async function* changesSince<Change>(
  { database, scheduler }: ConnectionDeps,
  { orgId }: Caller,
  start: number,
  { assertStillAuthenticated, signal }: SubscribeOptions,
  describe: (
    events: readonly WatchedEvent[],
    beforeEach: () => Promise<void>,
  ) => AsyncIterable<Located<Change>>,
): AsyncGenerator<Omit<Change, 'eventId'> & { eventId: string }> {
  const beforeEach = async () => {
    await scheduler.waitForTurn(orgId);
    // A slow client can take longer for one change than a revoked key may keep working.
    await assertStillAuthenticated();
  };
  // A client that leaves ends a generator only where it yields, and a long part of a trail can have nothing for it.
  const isOver = () => database.changes.isClosed || signal?.aborted === true;
  const notifications = database.changes.listen(orgId);
  let lastSeq = start;
  let isDue = true;
  try {
    while (!isOver()) {
      try {
        await assertStillAuthenticated();
        // A full batch can be followed by another one.
        for (let length = isDue ? batchSize : 0; length === batchSize && !isOver(); ) {
          await beforeEach();
          const events = await database.select(
            AuditEvent,
            orgId,
            sql`where (org_id, seq) > (${orgId}::uuid, ${lastSeq}::int) and org_id = ${orgId}
              order by org_id, seq limit ${batchSize}`,
            { isScan: true, properties: eventColumns },
          );
          length = events.length;
          for await (const { seq, change } of describe(events, beforeEach)) {
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
      if (!isOver()) isDue = (await notifications.next(checkEveryMs)) || isDue;
    }
  } finally {
    notifications.stop();
  }
}

/**
 * Returns the number of the event after which a subscription begins: the last one of the trail, or that of a cursor.
 *
 * @throws AppError `BAD_USER_INPUT`, also if the retention of audit events has deleted changes that the client has not received, or if
 *   the trail ends before the cursor, because a backup was restored: it must not believe that it has all
 */
export async function findStart(
  { database }: ConnectionDeps,
  { orgId }: Caller,
  after: string | null | undefined,
): Promise<number> {
  const end = (await database.forOrganisation(orgId).findOne(AuditHead, { orgId }))?.seq ?? 0;
  if (after == null) return end;
  const start = parseChangeCursor(after);
  if (start > end) {
    const message =
      'The audit trail ends before this event id: a backup was restored, or it is of another organisation. Read the connections again, and subscribe without "after".';
    throw validationError([{ path: ['after'], message }]);
  }
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
