import ipaddr from 'ipaddr.js';
import { AppError } from '../common/errors.ts';
import type { Database } from '../database/database.ts';
import { deleteInBatches } from '../database/delete-in-batches.ts';
import type { Caller } from '../identity/caller.ts';
import type { Rate, Rates } from './defaults.ts';
import { LeasedRateLimiter, type RateLimiterDeps } from './leased-rate-limiter.ts';

/** Limits on how often; each takes a point, or throws `RATE_LIMITED` with when there will be one again. */
export interface RateLimits {
  /** A request of an address that has shown no credential that is known to be good. */
  checkUnauthenticated(address: string | undefined): Promise<void>;
  /** A credential that let nobody in. */
  checkFailedAuthentication(address: string | undefined): Promise<void>;
  /** A request, counted for the caller and for its organisation. */
  checkCaller(caller: Caller): Promise<void>;
  /** A call to a host that the caller has named. */
  checkOutbound(caller: Caller): Promise<void>;
  /** A change that needs no call to a host. */
  checkChange(caller: Caller): Promise<void>;
  /**
   * A subscription, which is open until the function that this gives is called.
   *
   * @throws AppError `RATE_LIMITED` when the caller holds too many open on this server
   */
  openSubscription(caller: Caller): () => void;
}

/** No limits: `RATE_LIMITS=off`. */
export const unlimited: RateLimits = {
  checkUnauthenticated: async () => {},
  checkFailedAuthentication: async () => {},
  checkCaller: async () => {},
  checkOutbound: async () => {},
  checkChange: async () => {},
  openSubscription: () => () => {},
};

/** Limits that all servers of one database share, but for that on subscriptions. */
export function createRateLimits(given: Omit<RateLimiterDeps, 'outage'>, rates: Rates): RateLimits {
  const { windowSeconds } = rates;
  const parts = { ...given, outage: { until: 0 } };
  const limit = (name: string, rate: Rate, says: string) => {
    const counter = new LeasedRateLimiter({ ...rate, name, windowSeconds }, parts);
    return async (key: string) => {
      const retryAt = await counter.consume(key);
      if (retryAt)
        throw rateLimitedError(`${says}: at most ${rate.points} in ${windowSeconds} seconds.`, retryAt);
    };
  };
  const unauthenticated = limit(
    'stranger',
    rates.unauthenticated,
    'This address sends too many requests without a credential that has been good before',
  );
  const failedAuthentication = limit(
    'sign-in',
    rates.failedAuthentication,
    'This address sends too many credentials that let nobody in',
  );
  const request = limit('caller', rates.caller, 'This API key or token asks too often');
  const organisation = limit('org', rates.organisation, 'This organisation asks too often');
  const outbound = limit('outbound', rates.outbound, 'This API key or token has credentials tried too often');
  const outboundOfOrganisation = limit(
    'outbound-org',
    rates.outboundOfOrganisation,
    'This organisation has credentials tried too often',
  );
  const change = limit('change', rates.change, 'This API key or token changes too much');
  const changeOfOrganisation = limit(
    'change-org',
    rates.changeOfOrganisation,
    'This organisation changes too much',
  );
  const open = new Map<string, number>();

  return {
    checkUnauthenticated: async (address) => unauthenticated(networkPrefix(address)),
    checkFailedAuthentication: async (address) => failedAuthentication(networkPrefix(address)),
    checkCaller: async (caller) => {
      await request(callerKey(caller));
      await organisation(caller.orgId);
    },
    checkOutbound: async (caller) => {
      await outbound(callerKey(caller));
      await outboundOfOrganisation(caller.orgId);
    },
    checkChange: async (caller) => {
      await change(callerKey(caller));
      await changeOfOrganisation(caller.orgId);
    },
    openSubscription: (caller) => {
      const name = callerKey(caller);
      const count = open.get(name) ?? 0;
      if (count >= rates.subscriptions) throw tooManySubscriptionsError(rates.subscriptions);
      open.set(name, count + 1);
      return () => {
        const left = (open.get(name) ?? 0) - 1;
        if (left > 0) open.set(name, left);
        else open.delete(name);
      };
    },
  };
}

/**
 * Deletes what was counted in windows that are over, in batches.
 *
 * @returns how many rows it has deleted
 */
export async function purgeExpiredWindows(
  { database }: { database: Database },
  signal?: AbortSignal,
): Promise<number> {
  const expired = { table: 'rate_limit', condition: 'expire <= ?', params: [Date.now()] };
  return deleteInBatches(database, expired, signal);
}

/** What tells a caller from all others, also from those of other organisations. */
function callerKey({ orgId, id }: Caller): string {
  return `${orgId} ${id}`;
}

/** Whoever has an IPv6 address has the 2⁶⁴ of its network, and would never run out of them. */
function networkPrefix(address = 'unknown'): string {
  if (!ipaddr.IPv6.isValid(address)) return address;
  return `${ipaddr.IPv6.networkAddressFromCIDR(`${address.split('%', 1)[0]}/64`)}/64`;
}

function rateLimitedError(message: string, retryAt: Date): AppError {
  return new AppError('RATE_LIMITED', message, {
    retryAt,
    remedy: 'Wait until `retryAt`, and spread what you ask over time.',
  });
}

function tooManySubscriptionsError(most: number): AppError {
  return new AppError(
    'RATE_LIMITED',
    `This API key or token holds too many subscriptions open: at most ${most} on one server.`,
    { remedy: 'Close one, or let those who watch the same share one.' },
  );
}
