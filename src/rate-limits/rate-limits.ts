import ipaddr from 'ipaddr.js';
import { currentTimeMs } from '../common/clock.ts';
import { AppError } from '../common/errors.ts';
import type { Database } from '../database/database.ts';
import { deleteInBatches } from '../database/delete-in-batches.ts';
import type { Caller } from '../identity/caller.ts';
import type { Rate, Rates } from './defaults.ts';
import { LeasedRateLimiter, type RateLimiterDeps } from './leased-rate-limiter.ts';

/** The rate limits. Each check takes a point, or throws an AppError `RATE_LIMITED` with `retryAt`. */
export interface RateLimits {
  /** Checks a request without a credential that the server has accepted before. */
  checkUnauthenticated(address: string | undefined): Promise<void>;
  /** Checks a rejected credential. */
  checkFailedAuthentication(address: string | undefined): Promise<void>;
  /** Checks a request, for the caller and for its organisation. */
  checkCaller(caller: Caller): Promise<void>;
  /** Checks a call to a host that the caller names. */
  checkOutbound(caller: Caller): Promise<void>;
  /** Checks a request to an app through a connection. */
  checkUse(caller: Caller): Promise<void>;
  /** Checks a change without a call to a host. */
  checkChange(caller: Caller): Promise<void>;
  /**
   * Opens a subscription.
   *
   * @returns a function that closes it
   * @throws AppError `RATE_LIMITED` if the caller has too many open subscriptions on this server
   */
  openSubscription(caller: Caller): () => void;
}

/** The implementation for `RATE_LIMITS=off`. */
export const unlimited: RateLimits = {
  checkUnauthenticated: async () => {},
  checkFailedAuthentication: async () => {},
  checkCaller: async () => {},
  checkOutbound: async () => {},
  checkUse: async () => {},
  checkChange: async () => {},
  openSubscription: () => () => {},
};

/** Creates rate limits that all servers of a database share, except the one on subscriptions. */
export function createRateLimits(options: Omit<RateLimiterDeps, 'outage'>, rates: Rates): RateLimits {
  const { windowSeconds } = rates;
  const deps = { ...options, outage: { until: 0 } };
  const createCheck = (name: string, rate: Rate, message: string) => {
    const limiter = new LeasedRateLimiter({ ...rate, name, windowSeconds }, deps);
    const wait = async (key: string) => {
      const retryAt = await limiter.consume(key);
      if (retryAt)
        throw rateLimitedError(
          `${message}: the limit is ${rate.points} per ${windowSeconds} seconds.`,
          retryAt,
        );
    };
    return (key: string) => (limiter.takeLeased(key) ? undefined : wait(key));
  };
  // The names are stored in the database as prefixes of keys, so that servers of different versions share the counts.
  const unauthenticated = createCheck(
    'stranger',
    rates.unauthenticated,
    'Too many requests of this client address without a valid credential',
  );
  const failedAuthentication = createCheck(
    'sign-in',
    rates.failedAuthentication,
    'Too many rejected credentials of this client address',
  );
  const request = createCheck('caller', rates.caller, 'Too many requests of this API key or token');
  const organisation = createCheck('org', rates.organisation, 'Too many requests of this organisation');
  const outbound = createCheck('outbound', rates.outbound, 'Too many verifications by this API key or token');
  const outboundOfOrganisation = createCheck(
    'outbound-org',
    rates.outboundOfOrganisation,
    'Too many verifications by this organisation',
  );
  const use = createCheck('use', rates.use, 'Too many requests through connections by this API key or token');
  const useOfOrganisation = createCheck(
    'use-org',
    rates.useOfOrganisation,
    'Too many requests through connections by this organisation',
  );
  const change = createCheck('change', rates.change, 'Too many changes by this API key or token');
  const changeOfOrganisation = createCheck(
    'change-org',
    rates.changeOfOrganisation,
    'Too many changes by this organisation',
  );
  const openSubscriptions = new Map<string, number>();

  return {
    checkUnauthenticated: async (address) => unauthenticated(networkPrefix(address)),
    checkFailedAuthentication: async (address) => failedAuthentication(networkPrefix(address)),
    checkCaller: async (caller) => {
      await request(caller.globalId);
      await organisation(caller.orgId);
    },
    checkOutbound: async (caller) => {
      await outbound(caller.globalId);
      await outboundOfOrganisation(caller.orgId);
    },
    checkUse: async (caller) => {
      await use(caller.globalId);
      await useOfOrganisation(caller.orgId);
    },
    checkChange: async (caller) => {
      await change(caller.globalId);
      await changeOfOrganisation(caller.orgId);
    },
    openSubscription: (caller) => {
      const key = caller.globalId;
      const count = openSubscriptions.get(key) ?? 0;
      if (count >= rates.subscriptions) throw tooManySubscriptionsError(rates.subscriptions);
      openSubscriptions.set(key, count + 1);
      return () => {
        const remaining = (openSubscriptions.get(key) ?? 0) - 1;
        if (remaining > 0) openSubscriptions.set(key, remaining);
        else openSubscriptions.delete(key);
      };
    },
  };
}

/**
 * Deletes the rows of expired windows in batches.
 *
 * @returns the number of deleted rows
 */
export async function purgeExpiredWindows(
  { database }: { database: Database },
  signal?: AbortSignal,
): Promise<number> {
  const expired = {
    ...{ table: 'rate_limit', condition: 'expire <= ?', orderBy: 'expire' },
    params: [currentTimeMs()],
  };
  return deleteInBatches(database, expired, signal);
}

/** Returns the /64 network of an IPv6 address, because a client usually controls all 2⁶⁴ addresses of it. */
function networkPrefix(address = 'unknown'): string {
  if (!ipaddr.IPv6.isValid(address)) return address;
  return `${ipaddr.IPv6.networkAddressFromCIDR(`${address.split('%', 1)[0]}/64`)}/64`;
}

function rateLimitedError(message: string, retryAt: Date): AppError {
  return new AppError('RATE_LIMITED', message, {
    retryAt,
    remedy: 'Wait until `retryAt`, and spread requests over time.',
  });
}

function tooManySubscriptionsError(limit: number): AppError {
  return new AppError(
    'RATE_LIMITED',
    `Too many open subscriptions of this API key or token: the limit is ${limit} per server.`,
    { remedy: 'Close a subscription, or share one between clients that watch the same connections.' },
  );
}
