import type { App, AuthMethod } from '../apps/app.ts';
import type { RefusalRecorder } from '../audit/refusal-counter.ts';
import type { FairScheduler } from '../common/fair-scheduler.ts';
import type { Database } from '../database/database.ts';
import type { Vault } from '../encryption/vault.ts';
import type { Caller } from '../identity/caller.ts';
import type { Outbound, OutboundClient } from '../outbound/outbound.ts';
import type { RateLimits } from '../rate-limits/rate-limits.ts';

/** What working with connections takes. */
export interface ConnectionDeps {
  apps: readonly App[];
  database: Database;
  vault: Vault;
  /** Used through `rateLimitedOutbound` alone, which counts. */
  outbound: OutboundClient;
  limits: RateLimits;
  /** Shares the event loop among organisations. */
  scheduler: FairScheduler;
  /** How long a deleted connection can be restored, in days. */
  deletedRetentionDays: number;
  refusals: RefusalRecorder;
}

/**
 * The way to a host that the caller has named. Ask for it each time: it is limited how often, so that nobody looks for
 * open ports with this server.
 *
 * @throws AppError `RATE_LIMITED`
 */
export async function rateLimitedOutbound(deps: ConnectionDeps, caller: Caller): Promise<Outbound> {
  await deps.limits.checkOutbound(caller);
  return unmeteredOutbound(deps, caller);
}

/** The same for what sends nothing, and so is not limited how often. */
export function unmeteredOutbound(
  { outbound }: Pick<ConnectionDeps, 'outbound'>,
  { orgId, id }: Caller,
): Outbound {
  return outbound.onBehalfOf({ orgId, callerId: `${orgId} ${id}` });
}

/** The app of this id, which is one of those that there are. */
export function requireApp({ apps }: Pick<ConnectionDeps, 'apps'>, id: string): App {
  const app = apps.find((each) => each.id === id);
  if (!app) throw new TypeError(`There is no app ${id}.`);
  return app;
}

/** The app and the method of a stored connection. */
export function resolveAppAndMethod(
  { apps }: Pick<ConnectionDeps, 'apps'>,
  connection: { app: string; method: string },
): { app: App; method: AuthMethod } {
  const app = apps.find(({ id }) => id === connection.app);
  const method = app?.methods.find(({ id }) => id === connection.method);
  if (!app || !method) throw new TypeError(`There is no app ${connection.app} with ${connection.method}.`);
  return { app, method };
}
