import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/**
 * Public unicast addresses that a cloud serves inside its own network. 168.63.129.16 is the virtual host of Azure; the
 * metadata addresses of other clouds are in ranges that are refused below.
 */
const cloudInternalAddresses: ReadonlySet<string> = new Set(['168.63.129.16']);

/** The well-known prefix of NAT64 (RFC 6052, section 2.1). The last 32 bits are an IPv4 address. */
const nat64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96');

/** The global unicast addresses of IPv6. Addresses outside are special or embed another address. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');

/**
 * Whether an address (`203.0.113.7`, `2001:db8::1`; no brackets) is on the public internet.
 *
 * An IPv6 address with NAT64's well-known prefix is public if the embedded IPv4 address is: in networks without IPv4,
 * names resolve to such addresses. Other forms that embed IPv4 (mapped, compatible, NAT64's local prefix, 6to4, Teredo,
 * ISATAP) are not public, because their target depends on the network of this server. Addresses with a zone and text that
 * is not an address are not public either.
 */
export function isPublicAddress(address: string): boolean {
  if (isIP(address) === 0 || cloudInternalAddresses.has(address)) return false;
  const parsed = ipaddr.parse(address);
  if (parsed instanceof ipaddr.IPv6 && parsed.zoneId === undefined && parsed.match(nat64)) {
    return isPublicAddress(parsed.toByteArray().slice(12).join('.'));
  }
  if (parsed.range() !== 'unicast') return false;
  if (parsed instanceof ipaddr.IPv4) return true;
  return parsed.zoneId === undefined && parsed.match(globalUnicast) && !isIsatap(parsed);
}

/** ISATAP (RFC 5214, section 6.1): an interface id of `0:5efe` or `200:5efe`, followed by an IPv4 address. */
function isIsatap({ parts: [, , , , flags = 0, marker] }: ipaddr.IPv6): boolean {
  return (flags === 0 || flags === 0x200) && marker === 0x5efe;
}

/**
 * Whether connections to a URL's host are allowed, before its name is resolved: addresses must be public, and names must
 * not be names of this machine.
 */
export function isAllowedHost(hostname: string): boolean {
  const host = normalizeHost(hostname);
  if (isIP(host) !== 0) return isPublicAddress(host);
  return !isLoopbackName(host);
}

/** Whether a name is `localhost` or ends with `.localhost` (RFC 6761, section 6.3). */
export function isLoopbackName(hostname: string): boolean {
  const host = normalizeHost(hostname);
  return host === 'localhost' || host.endsWith('.localhost');
}

/** Whether a URL's host is one of these domains (`okta.com`) or a subdomain of one. An address matches no domain. */
export function matchesDomain(hostname: string, domains: readonly string[]): boolean {
  const host = normalizeHost(hostname);
  return isIP(host) === 0 && domains.some((domain) => host === domain || host.endsWith(`.${domain}`));
}

/** Lower-cases a URL's host and removes the brackets of IPv6 and trailing dots. */
export function normalizeHost(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.+$/, '');
}
