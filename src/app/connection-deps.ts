import { createApps } from '../apps/index.ts';
import { RefusalRecorder } from '../audit/refusal-counter.ts';
import { FairScheduler } from '../common/fair-scheduler.ts';
import type { Config } from '../config/config.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { RateBudgets } from '../connections/rate-budget/rate-budgets.ts';
import { UsageCounter } from '../connections/usage/usage-counter.ts';
import { oauth } from '../oauth/oauth.ts';
import { isRecipientAllowed } from '../outbound/mail.ts';
import type { OutboundClient } from '../outbound/outbound.ts';
import { defaultRates } from '../rate-limits/defaults.ts';
import { createRateLimits, unlimited } from '../rate-limits/rate-limits.ts';
import { prepareOwnerNotice } from '../webhooks/prepare-owner-notice.ts';
import type { ServerDeps } from './server-deps.ts';

/** Creates a recorder of refusals, which counts for itself. */
export function createRecorder({ database, vault, log, rates }: ServerDeps): RefusalRecorder {
  const { windowSeconds } = { ...defaultRates, ...rates };
  return new RefusalRecorder({ database, vault, log }, windowSeconds * 1_000);
}

/**
 * Creates the dependencies of the operations on connections.
 *
 * @param outbound the client for requests to apps
 * @param getListeningUrl returns the URL at which the server listens
 */
export function createConnectionDeps(
  config: Config,
  deps: ServerDeps,
  outbound: OutboundClient,
  getListeningUrl: () => string,
): ConnectionDeps {
  const { database, vault, log } = deps;
  const connections: ConnectionDeps = {
    apps: deps.apps ?? createApps({ trustedHosts: config.trustedInstanceHosts, oauth }),
    database,
    vault,
    outbound,
    limits: config.rateLimits ? createRateLimits(deps, { ...defaultRates, ...deps.rates }) : unlimited,
    log,
    scheduler: deps.scheduler ?? new FairScheduler(database.usage),
    deletedRetentionDays: config.deletedRetentionDays,
    refusals: createRecorder(deps),
    reads: createRecorder(deps),
    usage: new UsageCounter({ database, log }),
    getPublicUrl: () => config.publicUrl ?? getListeningUrl(),
    sendsMail: config.mail !== undefined,
    isRecipientAllowed: (address) => isRecipientAllowed(config.mail ?? {}, address),
    prepareOwnerNotice: (...change) => prepareOwnerNotice(connections, ...change),
    budgets: new RateBudgets({ database, log }),
  };
  return connections;
}
