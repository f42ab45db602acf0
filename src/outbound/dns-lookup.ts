import { Resolver } from 'node:dns/promises';
import { type Address, coalesceLookups, type Lookup, socketLookup, withSystemLookup } from './dns.ts';
import { hasCode } from './error-mapping.ts';
import { HostsFile, systemHostsFile } from './hosts-file.ts';

/** The time limit of one lookup. The time-outs of c-ares are only estimates. */
const timeoutMs = 4_000;

/** The time limit for the second family after the first one has arrived. Some name servers never answer for IPv6. */
const otherFamilyMs = 500;

/** Overrides of the operating system's name servers and hosts file. */
export interface DnsSettings {
  /** Name servers, as `address:port`. */
  servers?: readonly string[];
  /** The path of a hosts file. */
  hostsFile?: string;
}

/**
 * Creates a lookup in the hosts file and in DNS, with a limit of 4 s. Unlike `getaddrinfo`, it blocks no thread of libuv's
 * pool, which silent name servers could exhaust. The search domains of resolv.conf are not used.
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

/** The `lookup` option for hosts that the operator configures. */
export const operatorSocketLookup = socketLookup(withSystemLookup(createDnsLookup()));

async function askNameServers(name: string, servers: readonly string[] | undefined): Promise<Address[]> {
  // A new resolver for each lookup: it reads resolv.conf when it is created, and cancels all of its queries together.
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
    // IPv4 first, because it is reachable from every network.
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
