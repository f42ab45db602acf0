import type { AuditDeps } from '../audit/hash-chain.ts';
import { isOrganisationEnabled } from '../audit/trail-head.ts';
import type { ScheduledWork } from '../jobs/schedule.ts';

/** A connection with something to do. */
export interface DueConnection {
  orgId: string;
  connectionId: string;
}

/** Work on connections, in a short job for each, which finds what to do again if it ends without having done it. */
export interface ConnectionWork {
  /** The name of the queue. */
  name: string;
  /** How often this server looks for connections, in milliseconds. */
  intervalMs: number;
  findDue(): Promise<DueConnection[]>;
  work(due: DueConnection, signal: AbortSignal): Promise<void>;
  /** The log message if `findDue` fails. */
  failure: string;
}

/**
 * Returns the work on a schedule: two connections of an organisation at a time, and at most one job for each connection. Nothing is
 * done for a disabled organisation.
 */
export function connectionWork(
  deps: AuditDeps,
  { name, intervalMs, findDue, work, failure }: ConnectionWork,
): ScheduledWork {
  return {
    intervalMs,
    queue: {
      name,
      ...{ expireSeconds: 60, retryLimit: 0, pollSeconds: 5 },
      ...{ workers: 1, batchSize: 4, groupConcurrency: 2 },
      async work({ orgId = '', connectionId = '' }, signal) {
        if (await isOrganisationEnabled(deps, orgId)) await work({ orgId, connectionId }, signal);
      },
    },
    async findDue() {
      const due = await findDue();
      return due.map(({ orgId, connectionId }) => ({
        ids: { orgId, connectionId },
        key: `${orgId} ${connectionId}`,
        group: orgId,
      }));
    },
    failure,
  };
}
