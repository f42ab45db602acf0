import { isEnabledSql } from '../../audit/trail-head.ts';
import { currentTime } from '../../common/clock.ts';
import type { Database } from '../../database/database.ts';
import { checkEverySql, defaultCheckEvery, isCheckedSql, maxCheckEvery } from '../check-interval.ts';
import { originSql, urlFields } from '../credentials/host.ts';
import type { ConnectionDeps } from '../deps.ts';
import { maxOutageMs, maxWaitFactor, minOutageMs } from './check-schedule.ts';

type DueDeps = Pick<ConnectionDeps, 'apps' | 'database'>;

/** The most connections that get their first time in one statement. */
const scheduleBatchSize = 1_000;
/** The most hosts of an organisation in one round, so that thousands of hosts of one do not fill the queue. */
const maxHostsOfOrganisation = 20;
const maxHosts = 1_000;
const maxCountedOfOrganisation = 1_000;

/** A host with connections that are due, and one of these. */
export interface DueHost {
  orgId: string;
  origin: string;
  connectionId: string;
  /** How many of them are due. */
  dueCount: number;
}

const interval = `make_interval(hours => ${checkEverySql})`;

/** How long a connection that does not work waits for its check, as `nextCheckOfHost` computes it. The parameter is the time now. */
const failureInterval = `least(greatest(?::timestamptz - failing_since, make_interval(secs => ${minOutageMs / 1_000})),
  make_interval(secs => ${maxOutageMs / 1_000}))`;

/**
 * The connections without a time for their next check, or with a later time than a server with a right clock sets. Each interval that a
 * connection can have is a range of an index; the inner limit keeps PostgreSQL from reading all connections with an interval instead. Both
 * parameters are the time now.
 */
const unscheduledSql = `
  select id from app_connection where next_check_at is null and ${isCheckedSql} and ${isEnabledSql('org_id')}
  union all select id from app_connection where check_every is null and ${isCheckedSql} and ${isEnabledSql('org_id')}
    and next_check_at > ?::timestamptz + make_interval(hours => ${defaultCheckEvery}) * ${maxWaitFactor}
  union all select late.id from generate_series(1, ${maxCheckEvery}) as hours cross join lateral (select id from app_connection
    where check_every = hours and ${isCheckedSql} and ${isEnabledSql('org_id')} and next_check_at > ?::timestamptz + make_interval(hours => hours) * ${maxWaitFactor}
    limit ${scheduleBatchSize}) as late`;

/**
 * Sets the time of the next check of connections that have none: new and updated ones, those that were verified by hand, and those of
 * earlier versions. Replaces times that a server with a wrong clock has set. Connections that work get a time within their interval, over
 * which their ids spread them. Those that do not work are checked within minutes, and then less often.
 */
export async function scheduleConnections({ database }: DueDeps): Promise<void> {
  const now = currentTime();
  const fraction = `(('x' || substr(md5(id::text), 1, 7))::bit(28)::int / 268435456.0)`;
  await database.asSystem().execute(
    `update app_connection set next_check_at = ?::timestamptz
        + case when verification_status = 'VERIFIED' then ${interval} * ${fraction} else ${failureInterval} end
      where id in (select id from app_connection
        where id = any(array(${unscheduledSql} limit ${scheduleBatchSize})) and ${isCheckedSql}
          and (next_check_at is null or next_check_at > ?::timestamptz + ${interval} * ${maxWaitFactor})
        for update skip locked)`,
    [now, now, now, now, now],
  );
}

/**
 * Postpones the checks of connections that were used within the interval, and whose app accepted the credentials. Use also postpones
 * the end of credentials that end when they are unused, so it sets the warning of the end to now: then the job that warns computes the end again.
 */
export async function spareUsedConnections({ database }: DueDeps, now = currentTime()): Promise<void> {
  // Only whole hours are counted, so the use may have been at the beginning.
  await database.asSystem().execute(
    `update app_connection set next_check_at = used.hour + ${interval}, check_delay = null,
        expiry_warning_at = case when expiry_reason = 'UNUSED' then least(expiry_warning_at, ?) else expiry_warning_at end
      from (select id as used_id, (select max(hour) from connection_usage
          where connection_usage.org_id = due.org_id and connection_id = due.id
            and hour > ?::timestamptz - ${interval} and outcome = 'OK' and status_class = 2) as hour
        from app_connection as due
        where next_check_at <= ? and ${isCheckedSql} and verification_status = 'VERIFIED'
          and ${isEnabledSql('due.org_id')}) as used
      where id = used_id and used.hour is not null`,
    [now, now, now],
  );
}

/** Finds the hosts with connections that are due, for each organisation, in the order in which they became due. */
export async function findDueHosts({ apps, database }: DueDeps, now = currentTime()): Promise<DueHost[]> {
  return database.asSystem().execute<DueHost[]>(
    `select org_id as "orgId", origin, id as "connectionId", count as "dueCount" from (
        select org_id, origin, id, next_check_at, count,
          row_number() over (partition by org_id order by next_check_at) as position
        from (select distinct on (org_id, origin) org_id, id, next_check_at, origin,
            count(*) over (partition by org_id, origin)::int as count
          from (select org_id, id, next_check_at, ${originSql} as origin
            from app_connection where next_check_at <= ? and ${isCheckedSql}) as due
          order by org_id, origin, next_check_at) as hosts
        where ${isEnabledSql('hosts.org_id')} and not ${waitsForHost('hosts.org_id', 'hosts.origin')}) as ranked
      where position <= ${maxHostsOfOrganisation} order by next_check_at limit ${maxHosts}`,
    [urlFields(apps), now, ...outageCheckRange(now)],
  );
}

/** The checks that are due now. */
export interface CheckBacklog {
  /** Number of connections; of an organisation, at most a thousand are counted. */
  due: number;
  /** How long the one that waits longest has been due; 0 if none is. */
  latenessSeconds: number;
}

/**
 * Measures the checks that are due in all organisations. Those of a host that does not answer are not due before the host is checked
 * again.
 */
export async function measureCheckBacklog({
  apps,
  database,
}: Pick<ConnectionDeps, 'apps'> & { database: Pick<Database, 'asSystem'> }): Promise<CheckBacklog> {
  const now = currentTime();
  // The index by_check leads from each organisation to its due connections.
  const [backlog] = await database.asSystem().execute<[CheckBacklog]>(
    `select count(*)::int as "due",
        coalesce(extract(epoch from ?::timestamptz - min(next_check_at)), 0)::float8 as "latenessSeconds"
      from organisation cross join lateral (
        select next_check_at from app_connection as due
        where org_id = organisation.id and next_check_at <= ? and ${isCheckedSql}
          and not ${waitsForHost('organisation.id', originSql)}
        order by next_check_at limit ${maxCountedOfOrganisation}) as due
      where ${isEnabledSql('organisation.id')}`,
    [now, now, urlFields(apps), ...outageCheckRange(now)],
  );
  return backlog;
}

/**
 * Finds connections of an organisation to a host that are due, in the order in which they became due. A job that was sent just before an
 * outage was stored finds none.
 */
export async function findDueConnections(
  { apps, database }: DueDeps,
  { orgId, origin }: Pick<DueHost, 'orgId' | 'origin'>,
  limit: number,
): Promise<string[]> {
  const now = currentTime();
  const rows = await database.forOrganisation(orgId).execute<{ id: string }[]>(
    `select id from app_connection
      where org_id = ? and next_check_at <= ? and ${isCheckedSql} and ${originSql} = ? and not ${waitsForHost('app_connection.org_id', '?')}
      order by next_check_at limit ${limit}`,
    [orgId, now, urlFields(apps), origin, origin, ...outageCheckRange(now)],
  );
  return rows.map(({ id }) => id);
}

/** Finds the connection of an organisation to a host that worked most recently, due or not. */
export async function findWorkingConnection(
  { apps, database }: DueDeps,
  { orgId, origin }: Pick<DueHost, 'orgId' | 'origin'>,
  except: readonly string[],
): Promise<string | undefined> {
  const [row] = await database.forOrganisation(orgId).execute<{ id: string }[]>(
    `select id from app_connection
      where org_id = ? and ${isCheckedSql} and verification_status = 'VERIFIED' and ${originSql} = ? and id <> all(?::uuid[])
      order by last_verified_at desc nulls last limit 1`,
    [orgId, urlFields(apps), origin, `{${except.join(',')}}`],
  );
  return row?.id;
}

/** SQL: whether a host does not answer and is checked later. The parameters are the times of `outageCheckRange`. */
function waitsForHost(orgId: string, origin: string): string {
  return `exists (select from host_outage where host_outage.org_id = ${orgId} and host_outage.origin = ${origin}
    and host_outage.next_check_at > ? and host_outage.next_check_at < ?)`;
}

/** The times between which a server sets the next check of a host. A later one comes from a server with a wrong clock. */
function outageCheckRange(now: Date): [after: Date, before: Date] {
  return [now, new Date(now.getTime() + maxOutageMs * maxWaitFactor)];
}
