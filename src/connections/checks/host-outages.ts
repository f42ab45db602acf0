import { storeWithEvents } from '../../audit/audited-change.ts';
import { type RecordedEvent, serverActor } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import type { ErrorCode } from '../../common/errors.ts';
import type { ConnectionDeps } from '../deps.ts';
import { HostOutage } from '../host-outage.entity.ts';
import type { CheckFailure } from './check-connection.ts';
import { nextCheckOfHost } from './check-schedule.ts';

/** The most outages of a host in the history. */
const maxPastOutages = 100;

/** A host of an organisation. */
export interface Host {
  orgId: string;
  origin: string;
}

/** Stores that a host does not answer, and when it is checked again. The beginning is an audit event. */
export async function recordOutage(
  deps: ConnectionDeps,
  host: Host,
  { code, message }: CheckFailure['result'],
): Promise<void> {
  const { orgId, origin } = host;
  const now = currentTime();
  const em = deps.database.forOrganisation(orgId);
  const known = await em.findOne(HostOutage, { orgId, origin });
  const since = known?.since ?? now;
  await em.upsert(HostOutage, {
    ...{ orgId, origin, since, message, code },
    checkedAt: now,
    nextCheckAt: nextCheckOfHost(since, now),
  });
  if (!known) await recordEvent(deps, host, code);
}

/** Moves the outage of a host that answers again to the history, with an audit event. */
export async function endOutage(deps: ConnectionDeps, host: Host): Promise<void> {
  const { orgId, origin } = host;
  const ended = await deps.database.forOrganisation(orgId).execute<object[]>(
    `with ended as (delete from host_outage where org_id = ? and origin = ? returning *),
      added as (insert into host_outage_history (org_id, origin, since, until, code)
        select org_id, origin, since, greatest(since, ?), code from ended on conflict do nothing),
      trimmed as (delete from host_outage_history using ended
        where host_outage_history.org_id = ended.org_id and host_outage_history.origin = ended.origin
          and host_outage_history.until <= (select kept.until from host_outage_history as kept
            where kept.org_id = ended.org_id and kept.origin = ended.origin
            order by kept.until desc offset ${maxPastOutages - 1} limit 1))
      select 1 from ended`,
    [orgId, origin, currentTime()],
  );
  if (ended.length > 0) await recordEvent(deps, host, 'OK');
}

async function recordEvent(
  deps: ConnectionDeps,
  { orgId, origin }: Host,
  outcome: 'OK' | ErrorCode,
): Promise<void> {
  const event: RecordedEvent = {
    ...{ orgId, action: 'CHECK_HOST', outcome, fields: [], targetName: origin },
    ...serverActor,
  };
  await storeWithEvents(deps, orgId, { prepare: async () => ({ events: [event], result: undefined }) });
}
