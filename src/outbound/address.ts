import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/**
 * Addresses that look public but answer for the machine or the network that this server runs in.
 * 168.63.129.16 is Azure's virtual host; the metadata addresses of other clouds are in ranges refused below.
 */
const cloudInternalAddresses: ReadonlySet<string> = new Set(['168.63.129.16']);

/** RFC 6052, section 2.1: the network's own translator leads from here to the IPv4 address in the last 32 bits. */
const nat64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96');

/** All of IPv6 that is handed out to the public; what lies outside is special or embeds another address. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');

/**
 * Whether an address (`203.0.113.7`, `2001:db8::1`; no brackets) is one on the public internet.
 *
 * Of IPv6 forms that carry an IPv4 address, one of NAT64's well-known prefix is as public as what it carries: in
 * networks without IPv4, names lead there. All others (mapped, compatible, NAT64's local prefix, 6to4, Teredo, ISATAP)
 * are never public: what they lead to depends on the network that this server is in. Neither is one with a zone, which
 * is about a network card, nor text that is no address.
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

/** RFC 5214, section 6.1: under any prefix, an interface of `0:5efe` or `200:5efe` and the IPv4 address behind it. */
function isIsatap({ parts: [, , , , flags = 0, marker] }: ipaddr.IPv6): boolean {
  return (flags === 0 || flags === 0x200) && marker === 0x5efe;
}

/** Whether an address is this machine's own, so that what is sent there does not leave it. */
export function isLoopbackAddress(address: string): boolean {
  return isIP(address) !== 0 && ipaddr.process(address).range() === 'loopback';
}

/**
 * Whether a URL's host may be connected to, as far as that can be told without looking it up:
 * not an address that is not public, and not a name of this machine.
 */
export function isAllowedHost(hostname: string): boolean {
  const host = normalizeHost(hostname);
  if (isIP(host) !== 0) return isPublicAddress(host);
  return !isLoopbackName(host);
}

/** Whether a name is one of this machine's own, as RFC 6761 has it. */
export function isLoopbackName(hostname: string): boolean {
  const host = normalizeHost(hostname);
  return host === 'localhost' || host.endsWith('.localhost');
}

/** Whether a URL's host is one of these names (`okta.com`) or under one of them. An address is under no name. */
export function matchesDomain(hostname: string, names: readonly string[]): boolean {
  const host = normalizeHost(hostname);
  return isIP(host) === 0 && names.some((name) => host === name || host.endsWith(`.${name}`));
}

/** A URL's host in lower case, without the brackets of IPv6 and without the dots that may end a name. */
export function normalizeHost(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.+$/, '');
}
