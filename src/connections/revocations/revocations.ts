import { isEnabledSql } from '../../audit/trail-head.ts';
import { currentTime } from '../../common/clock.ts';
import type { ScheduledWork } from '../../jobs/schedule.ts';
import { connectionWork, type DueConnection } from '../connection-work.ts';
import type { ConnectionDeps } from '../deps.ts';
import { latestRetry, revokeDue } from './revoke-due.ts';

/** The most connections in one round. */
const maxConnections = 100;

/**
 * The revocation of replaced credentials that are due, in one job for each connection. All servers look for due ones, so that
 * those of a server that died are revoked too; the queue has at most one job for each connection.
 *
 * @param intervalMs how often this server looks for due credentials, in milliseconds
 */
export function revocations(deps: ConnectionDeps, intervalMs: number): ScheduledWork {
  return connectionWork(deps, {
    name: 'revoke-credentials',
    intervalMs,
    findDue: () => findDue(deps),
    work: ({ orgId, connectionId }, signal) => revokeDue(deps, orgId, connectionId, signal),
    failure: 'credentials to revoke could not be found',
  });
}

/** Finds the connections with credentials that are due, those that have waited longest first. */
function findDue({ database }: ConnectionDeps): Promise<DueConnection[]> {
  const now = currentTime();
  return database.asSystem().execute(
    `select org_id as "orgId", id as "connectionId" from app_connection
        where (revoke_at <= ? or revoke_at > ?) and ${isEnabledSql('org_id')} order by revoke_at limit ${maxConnections}`,
    [now, latestRetry(now)],
  );
}
