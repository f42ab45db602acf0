import { isEnabledSql, isOrganisationEnabled } from '../../audit/trail-head.ts';
import { currentTime } from '../../common/clock.ts';
import { safeErrorFields } from '../../common/log.ts';
import type { ScheduledWork } from '../../jobs/schedule.ts';
import type { ConnectionDeps } from '../deps.ts';
import { storeCertificates } from './host-certificates.ts';
import { forecastKeyAges } from './key-ages.ts';
import { warnOfCertificate } from './warn-of-certificate.ts';
import { warnOfExpiry } from './warn-of-expiry.ts';

/** The most organisations in one round, and the most connections and hosts of one in a job. */
const maxOrganisations = 1_000;
const maxConnections = 200;
const maxHosts = 200;

const isDueSql = 'expiry_warning_at <= ? and deleted_at is null';

/**
 * The warnings that the credentials of connections and the certificates of their hosts end, in one job for each organisation.
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
      await storeCertificates(deps);
      const due = await deps.database.asSystem().execute<{ orgId: string }[]>(
        `select "orgId" from (select org_id as "orgId" from app_connection where ${isDueSql}
              union select org_id from host_certificate where due_at <= ?) as due
            where ${isEnabledSql('"orgId"')} limit ${maxOrganisations}`,
        [currentTime(), currentTime()],
      );
      return due.map(({ orgId }) => ({ ids: { orgId }, key: orgId, group: orgId }));
    },
    failure: 'connections that expire could not be found',
  };
}

/** Gives the warnings of an organisation that are due. Those that it does not reach are still due in the next round. */
async function warnOrganisation(deps: ConnectionDeps, orgId: string, signal: AbortSignal): Promise<void> {
  if (!(await isOrganisationEnabled(deps, orgId))) return;
  const em = deps.database.forOrganisation(orgId);
  const hosts = await em.execute<{ origin: string }[]>(
    `select origin from host_certificate where org_id = ? and due_at <= ? order by due_at limit ${maxHosts}`,
    [orgId, currentTime()],
  );
  for (const { origin } of hosts) {
    if (signal.aborted) return;
    await warnOfCertificate(deps, { orgId, origin });
  }
  const due = await em.execute<{ id: string }[]>(
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
