import { Resolver } from 'node:dns/promises';
import { type Address, coalesceLookups, type Lookup, socketLookup, withSystemLookup } from './dns.ts';
import { hasCode } from './error-mapping.ts';
import { HostsFile, systemHostsFile } from './hosts-file.ts';

/** Milliseconds for one look-up, whatever name servers do. c-ares has time-outs too, but only as estimates. */
const timeoutMs = 4_000;

/** Milliseconds for the addresses of the other family, once there is one. Some name servers never answer for IPv6. */
const otherFamilyMs = 500;

/** Where names are looked up, if not where the operating system says. */
export interface DnsSettings {
  /** Name servers, as `address:port`. */
  servers?: readonly string[];
  /** The path of a hosts file. */
  hostsFile?: string;
}

/**
 * Looks names up in the hosts file and in the DNS, within 4 s. Unlike the operating system's `getaddrinfo`, this takes
 * none of the few threads that the whole process has: name servers that never answer would keep all of them.
 *
 * Names are taken as they are: the search domains of resolv.conf are not tried.
 */
export function createDnsLookup({ servers, hostsFile = systemHostsFile }: DnsSettings = {}): Lookup {
  const hosts = new HostsFile(hostsFile);
  return coalesceLookups(async (hostname) => {
    const name = hostname.toLowerCase().replace(/\.$/, '');
    const found = await hosts.find(name);
    if (found.length > 0) return [...found];
    if (name === 'localhost' || name.endsWith('.localhost')) return [...loopback];
    return askNameServers(name, servers);
  });
}

/** RFC 6761, section 6.3. */
const loopback: readonly Address[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
];

/** What a socket calls to find the addresses of a host that the operator has chosen. */
export const operatorSocketLookup = socketLookup(withSystemLookup(createDnsLookup()));

async function askNameServers(name: string, servers: readonly string[] | undefined): Promise<Address[]> {
  // One for each look-up: a resolver reads resolv.conf when it is made, and cancels all of its queries together.
  const resolver = new Resolver({ timeout: 1_000, tries: 2 });
  if (servers) resolver.setServers(servers);
  const cancelAfter = (ms: number) => setTimeout(() => resolver.cancel(), ms);
  let timer = cancelAfter(timeoutMs);
  const withFamily = async (family: 4 | 6, query: Promise<string[]>): Promise<Address[]> => {
    const addresses = await query;
    clearTimeout(timer);
    timer = cancelAfter(otherFamilyMs);
    return addresses.map((address) => ({ address, family }));
  };
  try {
    // IPv4 first: a host that has both is reached by it from everywhere.
    const outcomes = await Promise.allSettled([
      withFamily(4, resolver.resolve4(name)),
      withFamily(6, resolver.resolve6(name)),
    ]);
    const found = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []));
    if (found.length > 0) return found;
    const reasons = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
    throw reasons.find((reason) => !hasCode(reason, ['ENOTFOUND', 'ENODATA'])) ?? reasons[0];
  } finally {
    clearTimeout(timer);
  }
}
