import dns from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import { isPublicAddress } from './address.ts';
import { explainLookup } from './failure.ts';
import { OutboundError } from './outbound-error.ts';

/** All addresses of a host name. Rejects with a `code` as Node's resolver does: `ENOTFOUND`, `EAI_AGAIN`. */
export type Lookup = (hostname: string) => Promise<{ address: string; family: 4 | 6 }[]>;

/** Asks the operating system, as every other program on the machine does. */
export const systemLookup: Lookup = async (hostname) => {
  const found = await dns.lookup(hostname, { all: true });
  return found.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 }));
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
      ([first, ...others]) => {
        if (options.all) callback(null, [first, ...others]);
        else callback(null, first.address, first.family);
      },
      (error: OutboundError) => callback(error, ''),
    );
  };
}

type Address = Awaited<ReturnType<Lookup>>[number];

async function resolve(lookup: Lookup, hostname: string, guarded: boolean): Promise<[Address, ...Address[]]> {
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
