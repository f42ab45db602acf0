import type { EntityManager } from '@mikro-orm/postgresql';
import type { App, AuthMethod } from '../apps/app.ts';
import type { InsertedRow } from '../audit/audited-change.ts';
import type { RefusalRecorder } from '../audit/refusal-counter.ts';
import type { TrailState } from '../audit/trail-head.ts';
import type { FairScheduler } from '../common/fair-scheduler.ts';
import type { Logger } from '../common/log.ts';
import type { Database } from '../database/database.ts';
import type { Vault } from '../encryption/vault.ts';
import type { Caller } from '../identity/caller.ts';
import type { Outbound, OutboundClient } from '../outbound/outbound.ts';
import type { RateLimits } from '../rate-limits/rate-limits.ts';
import type { AppConnection } from './app-connection.entity.ts';
import type { RateBudgets } from './rate-budget/rate-budgets.ts';
import type { UsageCounter } from './usage/usage-counter.ts';

/** The dependencies of the operations on connections. */
export interface ConnectionDeps {
  apps: readonly App[];
  database: Database;
  vault: Vault;
  /** Use it only through `rateLimitedOutbound` and `unmeteredOutbound`. */
  outbound: OutboundClient;
  limits: RateLimits;
  log: Logger;
  /** Shares the event loop among organisations. */
  scheduler: FairScheduler;
  /** How long a deleted connection can be restored, in days. */
  deletedRetentionDays: number;
  refusals: RefusalRecorder;
  /** Counts reads through connections, apart from refusals, so that neither uses up the room of the other. */
  reads: RefusalRecorder;
  /** Counts the requests through connections. */
  usage: UsageCounter;
  /** Returns the URL of this server for people and apps, with the base path and without a slash at the end. */
  getPublicUrl(): string;
  /** Whether the operator has configured a mail server. */
  sendsMail: boolean;
  /** Whether the operator lets this server send e-mails to an address. */
  isRecipientAllowed(address: string): boolean;
  /**
   * Prepares the rows that are stored in the same statement as a connection, so that its owner gets e-mails: for a new owner, and
   * for a connection that is removed for good. It is passed in, because webhooks are a layer above.
   *
   * @param removal of a connection that is removed for good: whether it was deleted before
   */
  prepareOwnerNotice(
    em: EntityManager,
    connection: AppConnection,
    removal: { wasDeleted: boolean } | undefined,
    trail: TrailState,
  ): Promise<InsertedRow[]>;
  /** The rate budgets of connections. */
  budgets: RateBudgets;
}

/**
 * Counts an outbound request of the caller and returns the client for it. Call it for each request: the rate limit keeps
 * callers from scanning ports with this server.
 *
 * @throws AppError `RATE_LIMITED`
 */
export async function rateLimitedOutbound(deps: ConnectionDeps, caller: Caller): Promise<Outbound> {
  await deps.limits.checkOutbound(caller);
  return unmeteredOutbound(deps, caller);
}

/** The outbound client of a caller for checks that send nothing, which the rate limit does not count. */
export function unmeteredOutbound(
  { outbound }: Pick<ConnectionDeps, 'outbound'>,
  { orgId, globalId: callerId }: Caller,
): Outbound {
  return outbound.onBehalfOf({ orgId, callerId });
}

/**
 * Finds an app by its id.
 *
 * @throws TypeError if there is none, which is a bug
 */
export function requireApp({ apps }: Pick<ConnectionDeps, 'apps'>, id: string): App {
  const app = apps.find((each) => each.id === id);
  if (!app) throw new TypeError(`There is no app ${id}.`);
  return app;
}

/**
 * Finds the app and the method of a connection.
 *
 * @throws TypeError if this server does not have them
 */
export function resolveAppAndMethod(
  { apps }: Pick<ConnectionDeps, 'apps'>,
  connection: { app: string; method: string },
): { app: App; method: AuthMethod } {
  const app = apps.find(({ id }) => id === connection.app);
  const method = app?.methods.find(({ id }) => id === connection.method);
  if (!app || !method) throw new TypeError(`There is no app ${connection.app} with ${connection.method}.`);
  return { app, method };
}
