import { currentTime } from '../../common/clock.ts';
import type { ScheduledWork } from '../../jobs/schedule.ts';
import { connectionWork } from '../connection-work.ts';
import type { ConnectionDeps } from '../deps.ts';
import { rotateDue } from './rotate-due.ts';
import { isOldSql, latestLook } from './rotation-schedule.ts';

/**
 * The rotation of the keys of this server that are old, and further attempts to use new ones, in one job for each connection.
 *
 * @param days the age at which a key is replaced; 0 for never
 * @param intervalMs how often this server looks for connections, in milliseconds
 */
export function keyRotations(deps: ConnectionDeps, days: number, intervalMs: number): ScheduledWork {
  return connectionWork(deps, {
    name: 'rotate-key',
    intervalMs,
    dueColumn: 'keys_due_at',
    buildCondition: () => buildDueCondition(days),
    work: ({ orgId, connectionId: id }, signal) => rotateDue(deps, { orgId, id }, days, signal),
    failure: 'connections whose keys are due could not be found',
  });
}

/**
 * The connections whose keys are due, those with a new key first, and those that a server with a wrong clock has postponed. A
 * connection with a key of the caller is due if keys that servers had made for it are still to be removed.
 */
function buildDueCondition(days: number) {
  const now = currentTime();
  return {
    sql: `deleted_at is null and ((is_platform_managed_credentials and (keys_due_at <= ? or keys_due_at > ?
        or (keys_due_at is null and last_verified_at is not null and (keys @> '[{"state": "PENDING"}]'
          or (verification_status <> 'REJECTED' and ${isOldSql})))))
          or (not is_platform_managed_credentials and (keys_due_at <= ? or keys_due_at > ?)))`,
    params: [now, latestLook(now), now, days, days, now, latestLook(now)],
  };
}
