import type { AuditDeps } from '../audit/hash-chain.ts';
import { isEnabledSql, isOrganisationEnabled } from '../audit/trail-head.ts';
import type { ScheduledWork } from '../jobs/schedule.ts';

/** The most connections in one round. */
const maxConnections = 1_000;
/** The most connections of an organisation in one round, so that those of one do not keep others out of it. */
const maxConnectionsOfOrganisation = 200;

/** A connection with something to do. */
interface DueConnection {
  orgId: string;
  connectionId: string;
}

/** Work on connections, in a short job for each, which finds what to do again if it ends without having done it. */
export interface ConnectionWork {
  /** The name of the queue. */
  name: string;
  /** How often this server looks for connections, in milliseconds. */
  intervalMs: number;
  /** The column with the time at which a connection is due. Those that have waited longest are first, those without a time last. */
  dueColumn: 'keys_due_at' | 'revoke_at';
  /** Returns the condition, in SQL, that something is to do for a connection, with its parameters. */
  buildCondition(): { sql: string; params: readonly (Date | number)[] };
  work(due: DueConnection, signal: AbortSignal): Promise<void>;
  /** The log message if the connections could not be found. */
  failure: string;
}

/**
 * Returns the work on a schedule: two connections of an organisation at a time, and at most one job for each connection. Nothing is
 * done for a disabled organisation. All servers look for connections, so that what a server that died has left is done too.
 */
export function connectionWork(
  deps: AuditDeps,
  { name, intervalMs, dueColumn, buildCondition, work, failure }: ConnectionWork,
): ScheduledWork {
  return {
    intervalMs,
    queue: {
      name,
      ...{ expireSeconds: 60, retryLimit: 0, pollSeconds: 20 },
      // Several workers, because one waits for the slowest host of its jobs.
      ...{ workers: 4, batchSize: 4, groupConcurrency: 2 },
      async work({ orgId = '', connectionId = '' }, signal) {
        if (await isOrganisationEnabled(deps, orgId)) await work({ orgId, connectionId }, signal);
      },
    },
    async findDue() {
      const { sql, params } = buildCondition();
      const due = await deps.database.asSystem().execute<DueConnection[]>(
        `select "orgId", "connectionId" from (
            select org_id as "orgId", id as "connectionId", ${dueColumn} as due_at,
              row_number() over (partition by org_id order by ${dueColumn}) as position
            from app_connection where (${sql}) and ${isEnabledSql('org_id')}) as ranked
          where position <= ${maxConnectionsOfOrganisation} order by due_at limit ${maxConnections}`,
        params,
      );
      return due.map(({ orgId, connectionId }) => ({
        ids: { orgId, connectionId },
        key: `${orgId} ${connectionId}`,
        group: orgId,
      }));
    },
    failure,
  };
}
