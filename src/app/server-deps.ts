import type { App } from '../apps/app.ts';
import type { SignInCodes } from '../auth/sign-in-codes.ts';
import type { FairScheduler } from '../common/fair-scheduler.ts';
import type { Logger } from '../common/log.ts';
import type { Secret } from '../common/secret.ts';
import type { Database } from '../database/database.ts';
import type { Vault } from '../encryption/vault.ts';
import type { Rates } from '../rate-limits/defaults.ts';
import type { OutboundOverrides } from './outbound-clients.ts';
import type { WorkIntervals } from './scheduled-work.ts';

/** The dependencies of a server. Optional members replace the defaults. */
export interface ServerDeps extends WorkIntervals {
  database: Database;
  vault: Vault;
  log: Logger;
  /** The supported apps. */
  apps?: readonly App[] | undefined;
  /** The API key for one-time sign-in codes, which exist only in development on a loopback address. */
  signInKey?: Secret | undefined;
  signInCodes?: ConstructorParameters<typeof SignInCodes>[1];
  /** The folder of the built dashboard. */
  dashboardFolder?: string | undefined;
  /** DNS lookup and timeout of outbound requests. */
  outbound?: OutboundOverrides;
  /** Overrides of the default rate limits. */
  rates?: Partial<Rates> | undefined;
  /** Shares the event loop among organisations. */
  scheduler?: FairScheduler | undefined;
  /** How often the server looks for messages of webhooks that are due, in milliseconds. Absent: it sends none. */
  webhookIntervalMs?: number | undefined;
}
