import { currentTime } from '../../common/clock.ts';
import type { ScheduledWork } from '../../jobs/schedule.ts';
import { connectionWork, type DueConnection } from '../connection-work.ts';
import type { ConnectionDeps } from '../deps.ts';
import { forecastKeyAges } from './key-ages.ts';
import { warnOfExpiry } from './warn-of-expiry.ts';

/** The most connections in one round. */
const maxConnections = 500;

/**
 * The warnings that the credentials of connections end, in one job for each connection.
 *
 * @param keyRotationDays the age at which keys are replaced on a schedule, in days; 0 for never
 * @param intervalMs how often this server looks for connections, in milliseconds
 */
export function expiryWarnings(
  deps: ConnectionDeps,
  keyRotationDays: number,
  intervalMs: number,
): ScheduledWork {
  return connectionWork({
    name: 'warn-of-expiry',
    intervalMs,
    async findDue() {
      await forecastKeyAges(deps, keyRotationDays);
      return findDue(deps);
    },
    work: ({ orgId, connectionId: id }) => warnOfExpiry(deps, { orgId, id }),
    failure: 'connections that expire could not be found',
  });
}

function findDue({ database }: ConnectionDeps): Promise<DueConnection[]> {
  return database.asSystem().execute(
    `select org_id as "orgId", id as "connectionId" from app_connection
      where expiry_warning_at <= ? and deleted_at is null order by expiry_warning_at limit ${maxConnections}`,
    [currentTime()],
  );
}
