import { currentTime } from '../../common/clock.ts';
import type { ScheduledWork } from '../../jobs/schedule.ts';
import { connectionWork } from '../connection-work.ts';
import type { ConnectionDeps } from '../deps.ts';
import { latestRetry, revokeDue } from './revoke-due.ts';

/**
 * The revocation of replaced credentials that are due, in one job for each connection.
 *
 * @param intervalMs how often this server looks for due credentials, in milliseconds
 */
export function revocations(deps: ConnectionDeps, intervalMs: number): ScheduledWork {
  return connectionWork(deps, {
    name: 'revoke-credentials',
    intervalMs,
    dueColumn: 'revoke_at',
    buildCondition() {
      const now = currentTime();
      return { sql: 'revoke_at <= ? or revoke_at > ?', params: [now, latestRetry(now)] };
    },
    work: ({ orgId, connectionId }, signal) => revokeDue(deps, orgId, connectionId, signal),
    failure: 'credentials to revoke could not be found',
  });
}
