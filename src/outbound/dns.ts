import dns from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import { isPublicAddress } from './address.ts';
import { hasCode, toLookupError } from './error-mapping.ts';
import { OutboundError } from './outbound-error.ts';

/** An address as a resolver gives it. */
export interface Address {
  address: string;
  family: 4 | 6;
}

/** All addresses of a host name. Rejects with a `code` as Node's resolver does: `ENOTFOUND`, `EAI_AGAIN`. */
export type Lookup = (hostname: string) => Promise<Address[]>;

/** Gives those who ask for a name that is being looked up the same answer. */
export function coalesceLookups(lookup: Lookup): Lookup {
  const underWay = new Map<string, Promise<Address[]>>();
  return (hostname) => {
    const known = underWay.get(hostname);
    if (known) return known;
    const asked = lookup(hostname).finally(() => underWay.delete(hostname));
    underWay.set(hostname, asked);
    return asked;
  };
}

/**
 * Asks the operating system, as other programs on the machine do. That takes one of few threads for as long as a name
 * server pleases, so it is for names that the operator has chosen, and never for names that callers choose.
 */
export const systemLookup: Lookup = coalesceLookups(async (hostname) => {
  const found = await dns.lookup(hostname, { all: true });
  return found.map(({ address, family }): Address => ({ address, family: family === 6 ? 6 : 4 }));
});

/**
 * Has the operating system asked for names that `lookup` does not find: it knows search domains, multicast DNS and
 * other sources. For names that the operator has chosen.
 */
export function withSystemLookup(lookup: Lookup): Lookup {
  return (hostname) =>
    lookup(hostname).catch((error: unknown) => {
      if (hasCode(error, ['ENOTFOUND', 'ENODATA'])) return systemLookup(hostname);
      throw error;
    });
}

/** What a socket calls to find the addresses of a name, whatever they are. */
export function socketLookup(lookup: Lookup): LookupFunction {
  return (hostname, options, callback) => {
    resolve(lookup, hostname, false).then(
      (addresses) => staticLookup(addresses)(hostname, options, callback),
      (error: OutboundError) => callback(error, ''),
    );
  };
}

/** What a socket calls to find addresses that are known already. */
export function staticLookup([first, ...others]: readonly [Address, ...Address[]]): LookupFunction {
  return (_, options, callback) => {
    if (options.all) callback(null, [first, ...others]);
    else callback(null, first.address, first.family);
  };
}

/** A name may have thousands of addresses, and each would be connected to until one answers. */
const maxAddressesPerFamily = 4;

/**
 * The addresses of a host name, after the one look-up there is: no more than four of each family.
 *
 * @param guarded whether one forbidden address refuses the whole name
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
