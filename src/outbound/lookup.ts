import dns from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import { isPublicAddress } from './address.ts';
import { explainLookup } from './failure.ts';
import { OutboundError } from './outbound-error.ts';

/** An address as a resolver gives it. */
export interface Address {
  address: string;
  family: 4 | 6;
}

/** All addresses of a host name. Rejects with a `code` as Node's resolver does: `ENOTFOUND`, `EAI_AGAIN`. */
export type Lookup = (hostname: string) => Promise<Address[]>;

const underWay = new Map<string, Promise<Address[]>>();

/**
 * Asks the operating system, as every other program on the machine does. That takes one of few threads for as long as
 * a name server pleases, so whoever asks for a name that is being looked up waits for the same answer.
 */
export const systemLookup: Lookup = (hostname) => {
  const known = underWay.get(hostname);
  if (known) return known;
  const asked = dns
    .lookup(hostname, { all: true })
    .then((found) => found.map(({ address, family }): Address => ({ address, family: family === 6 ? 6 : 4 })))
    .finally(() => underWay.delete(hostname));
  underWay.set(hostname, asked);
  return asked;
};

/**
 * What a socket calls to find its addresses, once per connection. It connects to nothing but what this gives, so
 * an answer that changes between the check and the connection (DNS rebinding) has no moment to do so.
 *
 * With `guarded`, one forbidden address refuses the whole name: a name that is half public is a trick.
 */
export function socketLookup(lookup: Lookup, guarded: boolean): LookupFunction {
  return (hostname, options, callback) => {
    resolve(lookup, hostname, guarded).then(
      (addresses) => giving(addresses)(hostname, options, callback),
      (error: OutboundError) => callback(error, ''),
    );
  };
}

/** What a socket calls to find addresses that are known already. */
export function giving([first, ...others]: readonly [Address, ...Address[]]): LookupFunction {
  return (_, options, callback) => {
    if (options.all) callback(null, [first, ...others]);
    else callback(null, first.address, first.family);
  };
}

/**
 * All addresses of a host name, after the one look-up there is.
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
    throw explainLookup(error);
  });
  const [first, ...others] = found;
  if (first === undefined) throw new OutboundError('UNKNOWN_HOST', 'the host name has no address');
  if (guarded && !found.every(({ address }) => isPublicAddress(address))) {
    throw new OutboundError('HOST_NOT_ALLOWED', 'the host name leads to a private or reserved address');
  }
  return [first, ...others];
}
