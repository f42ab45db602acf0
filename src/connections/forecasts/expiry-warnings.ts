import { currentTime } from '../../common/clock.ts';
import { safeErrorFields } from '../../common/log.ts';
import type { ScheduledWork } from '../../jobs/schedule.ts';
import type { ConnectionDeps } from '../deps.ts';
import { forecastKeyAges } from './key-ages.ts';
import { warnOfExpiry } from './warn-of-expiry.ts';

/** The most organisations in one round, and the most connections of one in a job. */
const maxOrganisations = 1_000;
const maxConnections = 200;

const isDueSql = 'expiry_warning_at <= ? and deleted_at is null';

/**
 * The warnings that the credentials of connections end, in one job for each organisation.
 *
 * @param keyRotationDays the age at which keys are replaced on a schedule, in days; 0 for never
 * @param intervalMs how often this server looks for connections, in milliseconds
 */
export function expiryWarnings(
  deps: ConnectionDeps,
  keyRotationDays: number,
  intervalMs: number,
): ScheduledWork {
  return {
    intervalMs,
    queue: {
      name: 'warn-of-expiry',
      ...{ expireSeconds: 60, retryLimit: 0, pollSeconds: 5 },
      ...{ workers: 1, batchSize: 4, groupConcurrency: 1 },
      work: ({ orgId = '' }, signal) => warnOrganisation(deps, orgId, signal),
    },
    async findDue() {
      await forecastKeyAges(deps, keyRotationDays);
      const due = await deps.database
        .asSystem()
        .execute<{ orgId: string }[]>(
          `select distinct org_id as "orgId" from app_connection where ${isDueSql} limit ${maxOrganisations}`,
          [currentTime()],
        );
      return due.map(({ orgId }) => ({ ids: { orgId }, key: orgId, group: orgId }));
    },
    failure: 'connections that expire could not be found',
  };
}

/** Warns of the connections of an organisation that are due. Those that it does not reach are still due in the next round. */
async function warnOrganisation(deps: ConnectionDeps, orgId: string, signal: AbortSignal): Promise<void> {
  const due = await deps.database.forOrganisation(orgId).execute<{ id: string }[]>(
    `select id from app_connection where org_id = ? and ${isDueSql}
      order by expiry_warning_at limit ${maxConnections}`,
    [orgId, currentTime()],
  );
  for (const { id } of due) {
    if (signal.aborted) return;
    try {
      await warnOfExpiry(deps, { orgId, id });
    } catch (error) {
      // The row of an app that this server does not have, for example. It does not stop the others.
      deps.log.error(
        { connectionId: id, error: safeErrorFields(error) },
        'the end of credentials could not be forecast',
      );
    }
  }
}
