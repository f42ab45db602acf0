import { storeWithEvents } from '../../audit/audited-change.ts';
import { type RecordedEvent, serverActor } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import type { ErrorCode } from '../../common/errors.ts';
import type { Host } from '../credentials/host.ts';
import type { ConnectionDeps } from '../deps.ts';
import { HostOutage } from '../host-outage.entity.ts';
import type { CheckFailure } from './check-connection.ts';
import { nextCheckOfHost } from './check-schedule.ts';

/** The most outages of a host in the history. */
const maxPastOutages = 100;

/**
 * Stores that a host does not answer, and when it is checked again. The beginning is an audit event, which is stored in the same
 * statement.
 */
export async function recordOutage(
  deps: ConnectionDeps,
  host: Host,
  { code, message }: CheckFailure['result'],
): Promise<void> {
  const { orgId, origin } = host;
  const now = currentTime();
  const known = await storeWithEvents(deps, orgId, {
    prepare: async (em) => {
      const found = await em.findOne(HostOutage, { orgId, origin });
      if (found) return { events: [], result: found };
      const since = now;
      const times = { since, checkedAt: now, nextCheckAt: nextCheckOfHost(since, now) };
      return {
        events: [toEvent(host, code)],
        inserts: [[HostOutage, { orgId, origin, message, code, ...times }]],
        result: undefined,
      };
    },
  });
  if (!known) return;
  const nextCheckAt = nextCheckOfHost(known.since, now);
  await deps.database
    .forOrganisation(orgId)
    .nativeUpdate(HostOutage, { orgId, origin }, { message, code, checkedAt: now, nextCheckAt });
}

/** Moves the outage of a host that answers again to the history, with an audit event in the same statement. */
export async function endOutage(deps: ConnectionDeps, host: Host): Promise<void> {
  const { orgId, origin } = host;
  const where = { orgId, origin };
  // Nearly all hosts answer; then the trail is not needed.
  if (!(await deps.database.forOrganisation(orgId).findOne(HostOutage, where))) return;
  const ofHost = 'org_id = ? and origin = ?';
  const params = [orgId, origin];
  await storeWithEvents(deps, orgId, {
    prepare: async (em) => {
      if (!(await em.findOne(HostOutage, where))) return { events: [], result: undefined };
      const updates = [
        {
          sql: `insert into host_outage_history (org_id, origin, since, until, code)
            select org_id, origin, since, greatest(since, ?), code from host_outage where ${ofHost}`,
          params: [currentTime(), ...params],
        },
        { sql: `delete from host_outage where ${ofHost}`, params },
        {
          sql: `delete from host_outage_history where ${ofHost} and until <= (select until from host_outage_history
            where ${ofHost} order by until desc offset ${maxPastOutages - 1} limit 1)`,
          params: [...params, ...params],
        },
      ];
      return { events: [toEvent(host, 'OK')], updates, result: undefined };
    },
  });
}

function toEvent({ orgId, origin }: Host, outcome: 'OK' | ErrorCode): RecordedEvent {
  return {
    ...{ orgId, action: 'CHECK_HOST', outcome, fields: [], targetName: origin },
    ...serverActor,
  };
}
