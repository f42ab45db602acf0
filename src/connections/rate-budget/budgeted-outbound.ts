import type { App, AuthMethod } from '../../apps/app.ts';
import type { Credentials } from '../../apps/credentials.ts';
import { currentTimeMs } from '../../common/clock.ts';
import type { OutboundResponse } from '../../outbound/buffered-response.ts';
import type { Outbound, OutboundRequest } from '../../outbound/outbound.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import { getMaxShare } from './max-share.ts';
import type { RateBudgets } from './rate-budgets.ts';

/** A connection with a rate budget. */
export interface BudgetedConnection {
  orgId: string;
  id: string;
  maxShareOfRateLimit?: number | null | undefined;
  /** Whether it is stored only if what is asked succeeds. Then nothing is limited, and its budget begins with the requests. */
  isNew?: boolean;
}

/** Options of an outbound client with a rate budget. */
export interface BudgetOptions {
  /** Whether it is for a check of the schedule, which can wait, so that nothing is sent if the share is spent. */
  isCheck?: boolean;
}

/**
 * An outbound client whose requests to the app of a connection count in its rate budget, for what the server itself asks. They
 * are sent even if the share is spent, unless they are optional or `isCheck`, but not while the app refuses requests. Then they
 * fail with `UPSTREAM_RATE_LIMITED`.
 */
export function budgetedOutbound(
  budgets: RateBudgets,
  connection: BudgetedConnection,
  { app, method: { use } }: { app: App; method: AuthMethod },
  credentials: Credentials,
  outbound: Outbound,
  { isCheck = false }: BudgetOptions = {},
): Outbound {
  if (!use) return outbound;
  const { origin } = use.getOrigin(credentials);
  const counted =
    <Request extends OutboundRequest>(send: (url: URL, request: Request) => Promise<OutboundResponse>) =>
    async (url: URL, request: Request): Promise<OutboundResponse> => {
      const isCounted = url.origin === origin && url.pathname !== use.rateLimits?.tokenPath;
      const budget = isCounted ? budgets.find(app, use, connection, url.pathname) : undefined;
      const share = getMaxShare(connection);
      const takePermit = () =>
        isCheck && !request.isOptional ? budget?.takeForCheck(share) : budget?.takeForServer(share);
      const permit = connection.isNew ? undefined : await takePermit();
      if (budget && !permit && request.isOptional && !connection.isNew)
        throw new OutboundError('BUSY', 'the share of the rate limit is spent');
      const sentAt = currentTimeMs();
      let isSent = false;
      const onSend = () => {
        isSent = true;
      };
      const response = await send(url, { ...request, onSend }).catch((error: unknown) => {
        if (permit && !isSent) budget?.giveBack(permit);
        throw error;
      });
      if (connection.isNew) budget?.countUnleased(response, sentAt);
      else await budget?.observe(permit, response, sentAt);
      return response;
    };
  return {
    ...outbound,
    get: counted(outbound.get),
    post: counted(outbound.post),
    delete: counted(outbound.delete),
  };
}
