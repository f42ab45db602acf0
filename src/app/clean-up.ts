import { type Logger, safeErrorFields } from '../common/log.ts';
import { type PurgeDependencies, purgeExpired } from '../connections/operations/purge.ts';
import { purgeIdempotentRequests } from '../connections/persistence/idempotency.ts';
import { purgeUnusedBudgets } from '../connections/rate-budget/budget-store.ts';
import { deleteExpiredUsage, deleteUsageOfPurged } from '../connections/usage/delete-usage.ts';
import { purgeExpiredWindows } from '../rate-limits/rate-limits.ts';

const intervalMs = 3_600_000;

/** A clean-up that runs in the background. */
export interface CleanUp {
  /** Starts no further batch, and waits for the current one. */
  stop(): Promise<void>;
}

/**
 * Removes expired rows, at start and every hour: deleted connections, the usage of connections, idempotency keys, rate-limit windows, rate budgets.
 * Uses small transactions, on one server at a time.
 */
export function startCleanUp(deps: PurgeDependencies & { log: Logger }): CleanUp {
  const stopping = new AbortController();
  const { signal } = stopping;
  const tasks = [
    ['deleted connections', purgeExpired],
    ['usage of purged connections', deleteUsageOfPurged],
    ['usage', deleteExpiredUsage],
    ['idempotency keys', purgeIdempotentRequests],
    ['windows of rate limits', purgeExpiredWindows],
    ['rate budgets', purgeUnusedBudgets],
  ] as const;
  const cleanUp = async () => {
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
