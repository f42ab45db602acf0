import {
  deleteDueOrganisations,
  forgetDeletedOrganisations,
} from '../administration/delete-organisations.ts';
import { deleteOldEvents, type RetentionDeps } from '../audit/delete-old-events.ts';
import { clockOffsetMs } from '../common/clock.ts';
import { safeErrorFields } from '../common/log.ts';
import { deleteOldHistory } from '../connections/checks/delete-old-history.ts';
import { deleteOldOutages } from '../connections/checks/delete-old-outages.ts';
import { type PurgeDeps, purgeExpired } from '../connections/operations/purge.ts';
import { purgeIdempotentRequests } from '../connections/persistence/idempotency.ts';
import { purgeUnusedBudgets } from '../connections/rate-budget/budget-store.ts';
import { purgeSetupLinks } from '../connections/setup-links/purge.ts';
import { deleteExpiredUsage, deleteUsageOfPurged } from '../connections/usage/delete-usage.ts';
import { purgeExpiredWindows } from '../rate-limits/rate-limits.ts';
import { purgeMailCounts } from '../webhooks/mail-limit.ts';
import { purgeWebhookMessages } from '../webhooks/purge.ts';

const intervalMs = 3_600_000;
/**
 * How far the clock of the database may be ahead of that of this machine, in milliseconds. With a clock that is further ahead, new rows
 * would be removed as old ones.
 */
const maxAheadMs = 3_600_000;

/** A clean-up that runs in the background. */
export interface CleanUp {
  /** Starts no further batch, and waits for the current one. */
  stop(): Promise<void>;
}

/** What is removed, in this order: its name for the log, and the function that removes it. */
const tasks = [
  ['deleted organisations', deleteDueOrganisations],
  ['data keys of deleted organisations', forgetDeletedOrganisations],
  ['deleted connections', purgeExpired],
  ['usage of purged connections', deleteUsageOfPurged],
  ['usage', deleteExpiredUsage],
  ['setup links', purgeSetupLinks],
  ['idempotency keys', purgeIdempotentRequests],
  ['windows of rate limits', purgeExpiredWindows],
  ['rate budgets', purgeUnusedBudgets],
  ['outages of hosts', deleteOldOutages],
  ['history of connections', deleteOldHistory],
  ['messages of webhooks', purgeWebhookMessages],
  ['counts of e-mails', purgeMailCounts],
  ['audit events', deleteOldEvents],
] as const;

/**
 * Removes expired rows, at start and every hour, in small transactions, on one server at a time. Only the data keys of deleted
 * organisations are removed by each server, from its memory. Nothing is removed while the clock of the database is more than an hour ahead
 * of that of this machine, which is logged.
 */
export function startCleanUp(deps: PurgeDeps & RetentionDeps): CleanUp {
  const stopping = new AbortController();
  const { signal } = stopping;
  const cleanUp = async () => {
    const aheadMs = clockOffsetMs();
    if (aheadMs > maxAheadMs) {
      const aheadSeconds = Math.round(aheadMs / 1_000);
      deps.log.error({ aheadSeconds }, 'nothing is removed while the clock of the database is ahead');
      return;
    }
    for (const [what, task] of tasks) {
      if (signal.aborted) return;
      try {
        await task(deps, signal);
      } catch (error) {
        if (signal.aborted) return;
        deps.log.error({ what, error: safeErrorFields(error) }, 'expired rows could not be removed');
      }
    }
  };
  let running = cleanUp();
  const timer = setInterval(() => {
    running = running.then(cleanUp);
  }, intervalMs).unref();
  return {
    async stop() {
      clearInterval(timer);
      stopping.abort();
      await running;
    },
  };
}
