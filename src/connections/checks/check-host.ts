import { isOrganisationEnabled } from '../../audit/trail-head.ts';
import type { Pace } from '../../common/pace.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { getHostOrigin, type Host } from '../credentials/host.ts';
import type { ConnectionDeps } from '../deps.ts';
import { type CheckFailure, checkConnection, requeue, storeOwnFailure } from './check-connection.ts';
import { findDueConnections, findWorkingConnection } from './find-due.ts';
import { endOutage, recordOutage } from './host-outages.ts';

/** How many connections to a host are checked at the same time. */
const concurrency = 4;
/** After this time, the host waits for its next turn, in milliseconds. */
const turnMs = 20_000;

/**
 * Checks the connections of an organisation to a host that are due. The first one shows whether the host answers. If it does
 * not, another one that has worked is asked too: if that fails as well, the outage is stored once, and the others are not
 * checked. Otherwise only the first one does not work.
 *
 * @param target one of the connections
 * @param options `pace`: that of all checks of this server
 */
export async function checkHost(
  deps: ConnectionDeps,
  target: { orgId: string; connectionId: string },
  { pace, signal }: { pace: Pace; signal: AbortSignal },
): Promise<void> {
  const { orgId, connectionId: id } = target;
  if (!(await isOrganisationEnabled(deps, orgId))) return;
  const em = deps.database.forOrganisation(orgId);
  const connection = await em.findOne(AppConnection, { id, orgId, deletedAt: null });
  if (!connection) return;
  const host = { orgId, origin: getHostOrigin(deps, connection) };
  const startedAt = performance.now();
  let isAnswering = false;
  for (let size = 1; performance.now() - startedAt < turnMs && !signal.aborted; size = concurrency) {
    const ids = await findDueConnections(deps, host, size);
    if (ids.length === 0) return;
    const check = async (each: string) => {
      await pace.wait(signal);
      return checkConnection(deps, orgId, each, signal);
    };
    const outcomes = await Promise.all(ids.map(check));
    const failures = outcomes.filter((outcome) => typeof outcome === 'object');
    const [first] = failures;
    const hasAnswered = outcomes.includes('ANSWERED');
    if (first && !hasAnswered && !(await answersAnother(deps, host, failures, signal))) {
      await recordOutage(deps, host, first.result);
      await Promise.all(failures.map((failure) => requeue(deps, failure)));
      return;
    }
    if (!isAnswering && (first || hasAnswered)) {
      await endOutage(deps, host);
      isAnswering = true;
    }
    await Promise.all(failures.map((failure) => storeOwnFailure(deps, failure)));
  }
}

/** Whether the host answers the check of a connection that has worked, other than those that have just failed. */
async function answersAnother(
  deps: ConnectionDeps,
  host: Host,
  failures: readonly CheckFailure[],
  signal: AbortSignal,
): Promise<boolean> {
  const id = await findWorkingConnection(
    deps,
    host,
    failures.map(({ connection }) => connection.id),
  );
  return id !== undefined && (await checkConnection(deps, host.orgId, id, signal)) === 'ANSWERED';
}
