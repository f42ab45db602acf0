import type { App, AuthMethod, Credentials } from '../../apps/app.ts';
import { currentTimeMs } from '../../common/clock.ts';
import type { Outbound } from '../../outbound/outbound.ts';
import { getMaxShare } from './max-share.ts';
import type { RateBudgets } from './rate-budgets.ts';

/** A connection with a rate budget. */
export interface BudgetedConnection {
  orgId: string;
  id: string;
  maxShareOfRateLimit?: number | null | undefined;
}

/**
 * An outbound client whose GET requests to the app of a connection count in its rate budget, for what the server itself
 * asks. They are sent even if the share is spent, but not while the app refuses requests.
 */
export function budgetedOutbound(
  budgets: RateBudgets,
  connection: BudgetedConnection,
  { app, method: { use } }: { app: App; method: AuthMethod },
  credentials: Credentials,
  outbound: Outbound,
): Outbound {
  if (!use) return outbound;
  return {
    ...outbound,
    get: async (url, request) => {
      const isOfApp = url.origin === use.getOrigin(credentials).origin;
      const budget = isOfApp ? budgets.find(app, use, connection, url.pathname) : undefined;
      const permit = await budget?.takeForServer(getMaxShare(connection));
      const sentAt = currentTimeMs();
      const response = await outbound.get(url, request);
      await budget?.observe(permit, response, sentAt);
      return response;
    },
  };
}
