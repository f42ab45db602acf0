import dns from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import { isPublicAddress } from './address.ts';
import { hasCode, toLookupError } from './error-mapping.ts';
import { OutboundError } from './outbound-error.ts';

/** An address from a resolver. */
export interface Address {
  address: string;
  family: 4 | 6;
}

/** Resolves a host name to all of its addresses. Rejects with the `code` of Node's resolver: `ENOTFOUND`, `EAI_AGAIN`. */
export type Lookup = (hostname: string) => Promise<Address[]>;

/** Shares one lookup among concurrent requests for the same name. */
export function coalesceLookups(lookup: Lookup): Lookup {
  const inFlight = new Map<string, Promise<Address[]>>();
  return (hostname) => {
    const existing = inFlight.get(hostname);
    if (existing) return existing;
    const pending = lookup(hostname).finally(() => inFlight.delete(hostname));
    inFlight.set(hostname, pending);
    return pending;
  };
}

/**
 * Resolves names with the operating system (getaddrinfo). Each call blocks one of a few threads for as long as the name
 * server takes, so it is only for names that the operator configures, and never for names from callers.
 */
export const systemLookup: Lookup = coalesceLookups(async (hostname) => {
  const found = await dns.lookup(hostname, { all: true });
  return found.map(({ address, family }): Address => ({ address, family: family === 6 ? 6 : 4 }));
});

/**
 * Falls back to the operating system, which knows search domains, multicast DNS and other sources. Only for names that the
 * operator configures.
 */
export function withSystemLookup(lookup: Lookup): Lookup {
  return (hostname) =>
    lookup(hostname).catch((error: unknown) => {
      if (hasCode(error, ['ENOTFOUND', 'ENODATA'])) return systemLookup(hostname);
      throw error;
    });
}

/** Adapts a lookup to Node's `lookup` option, without checking the addresses. */
export function socketLookup(lookup: Lookup): LookupFunction {
  return (hostname, options, callback) => {
    resolve(lookup, hostname, false).then(
      (addresses) => staticLookup(addresses)(hostname, options, callback),
      (error: OutboundError) => callback(error, ''),
    );
  };
}

/** A `lookup` option that returns fixed addresses. */
export function staticLookup([first, ...others]: readonly [Address, ...Address[]]): LookupFunction {
  return (_, options, callback) => {
    if (options.all) callback(null, [first, ...others]);
    else callback(null, first.address, first.family);
  };
}

/** A name can have thousands of addresses, and a socket tries one after the other. */
const maxAddressesPerFamily = 4;

/**
 * Resolves a host name once, to at most four addresses of each family.
 *
 * @param guarded whether one non-public address refuses the whole name
 * @throws OutboundError
 */
export async function resolve(
  lookup: Lookup,
  hostname: string,
  guarded: boolean,
): Promise<[Address, ...Address[]]> {
  const found = await lookup(hostname).catch((error: unknown) => {
    throw toLookupError(error);
  });
  if (guarded && !found.every(({ address }) => isPublicAddress(address))) {
    throw new OutboundError('HOST_NOT_ALLOWED', 'the host name resolves to a private or reserved address');
  }
  const [first, ...others] = [4, 6].flatMap((family) =>
    found.filter((address) => address.family === family).slice(0, maxAddressesPerFamily),
  );
  if (first === undefined) throw new OutboundError('UNKNOWN_HOST', 'the host name has no address');
  return [first, ...others];
}
