import { currentTime } from '../../common/clock.ts';
import { createPace } from '../../common/pace.ts';
import type { ScheduledWork } from '../../jobs/schedule.ts';
import type { ConnectionDeps } from '../deps.ts';
import { checkHost } from './check-host.ts';
import { findDueHosts, scheduleConnections, spareUsedConnections } from './find-due.ts';

/**
 * How many checks a server begins per second: 90,000 an hour. More of them, when thousands are due at once, would delay requests.
 */
const maxChecksPerSecond = 25;
/** The fewest, so that those that another server has found meanwhile are not late. */
const minChecksPerSecond = 4;
/** Over which part of the time until the next round the checks of a round are spread. The rest is for answers that take long. */
const spreadPart = 0.7;

/**
 * The checks of connections that are due, in one job for each organisation and host, so that nobody waits for the hosts of
 * another. All servers look for due connections; the queue has at most one job for each of these.
 *
 * @param intervalMs how often this server looks for due connections, in milliseconds
 */
export function connectionChecks(deps: ConnectionDeps, intervalMs: number): ScheduledWork {
  const pace = createPace(maxChecksPerSecond);
  return {
    intervalMs,
    queue: {
      name: 'check-host',
      // Longer than a turn of `checkHost` and its last requests.
      ...{ expireSeconds: 90, retryLimit: 0, pollSeconds: 5 },
      ...{ workers: 4, batchSize: 4, groupConcurrency: 2 },
      work: ({ orgId = '', connectionId = '' }, signal) =>
        checkHost(deps, { orgId, connectionId }, { pace, signal }),
    },
    async findDue() {
      await scheduleConnections(deps);
      // One time for both: a used connection that becomes due in between is not checked.
      const now = currentTime();
      await spareUsedConnections(deps, now);
      const due = await findDueHosts(deps, now);
      const count = due.reduce((sum, host) => sum + host.dueCount, 0);
      // In bursts, they would delay the requests that come meanwhile.
      const evenly = count / ((intervalMs * spreadPart) / 1_000);
      pace.setRate(Math.min(Math.max(evenly, minChecksPerSecond), maxChecksPerSecond));
      return due.map(({ orgId, origin, connectionId }) => ({
        ids: { orgId, connectionId },
        key: `${orgId} ${origin}`,
        group: orgId,
      }));
    },
    failure: 'connections that are due could not be found',
  };
}
