import { currentTimeMs } from '../common/clock.ts';
import type { Database } from '../database/database.ts';

/** How long a server has the stream to itself, in milliseconds. After its death, another one goes on. A batch is shorter. */
const leaseMs = 20_000;
/** The shortest and the longest pause after a failure, in milliseconds. */
const [minPauseMs, maxPauseMs] = [1_000, 60_000];

type LeaseDeps = { database: Pick<Database, 'asSystem'> };

/**
 * The condition, in SQL, that `audit_stream as stream` is another server's, or pauses after a failure. A time that is further ahead than
 * any lease or pause does not count: the clock of the database was set back, or something else has changed the row.
 *
 * @returns the condition and its parameters
 */
export function buildTakenCondition(leaseId: string): { sql: string; params: (string | Date)[] } {
  const now = currentTimeMs();
  return {
    sql: 'stream.lease_id is distinct from ? and stream.lease_until between ? and ?',
    params: [leaseId, new Date(now), new Date(now + 2 * maxPauseMs)],
  };
}

/**
 * Takes or renews the lease of the stream.
 *
 * @param target the destination of this server
 * @returns since when deliveries have failed, or null if the last one has not, and the destination of the server that had the lease
 *   before; undefined if another server has the lease, or the stream pauses after a failure
 */
export async function claimStream(
  { database }: LeaseDeps,
  leaseId: string,
  target: string,
): Promise<{ failingSince: Date | null; previousTarget: string | null } | undefined> {
  const taken = buildTakenCondition(leaseId);
  const [claimed] = await database
    .asSystem()
    .execute<{ failingSince: string | Date | null; previousTarget: string | null }[]>(
      // The subquery reads the row as it was before the statement.
      `insert into audit_stream as stream (id, lease_id, lease_until, target) values (1, ?, ?, ?)
      on conflict (id) do update
        set lease_id = excluded.lease_id, lease_until = excluded.lease_until, target = excluded.target
        where (${taken.sql}) is not true
      returning failing_since as "failingSince", (select target from audit_stream) as "previousTarget"`,
      [leaseId, new Date(currentTimeMs() + leaseMs), target, ...taken.params],
    );
  if (!claimed) return undefined;
  const { failingSince, previousTarget } = claimed;
  return { failingSince: failingSince === null ? null : new Date(failingSince), previousTarget };
}

/** Records that a delivery has succeeded, while this server has the lease. */
export async function recordDelivery({ database }: LeaseDeps, leaseId: string): Promise<void> {
  await database
    .asSystem()
    .execute('update audit_stream set failing_since = null, failure = null where lease_id = ?', [leaseId]);
}

/** Ends the lease, if this server still has it, so that any server may go on at once. */
export async function releaseStream({ database }: LeaseDeps, leaseId: string): Promise<void> {
  await database
    .asSystem()
    .execute('update audit_stream set lease_id = null, lease_until = null where lease_id = ?', [leaseId]);
}

/**
 * Ends the lease after a failure. Servers try again after as long as the failures have lasted, between a second and a minute.
 *
 * @param failingSince the time of the first failure; null if this is the first
 */
export async function pauseStream(
  { database }: LeaseDeps,
  leaseId: string,
  failingSince: Date | null,
  failure: string,
): Promise<void> {
  const now = currentTimeMs();
  const since = failingSince?.getTime() ?? now;
  const pauseMs = Math.min(Math.max(now - since, minPauseMs), maxPauseMs);
  await database
    .asSystem()
    .execute(
      `update audit_stream set lease_id = null, lease_until = ?, failing_since = ?, failure = ? where lease_id = ?`,
      [new Date(now + pauseMs), new Date(since), failure, leaseId],
    );
}
