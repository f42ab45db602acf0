import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import ipaddr, { type IPv4, type IPv6 } from 'ipaddr.js';

/** A network: an address and the length of its prefix in bits. */
export type AddressRange = readonly [IPv4 | IPv6, number];

/** Parses `10.0.0.0/8`, `10.1.2.3` or `fd00::/8`; undefined for any other text. */
export function parseRange(text: string): AddressRange | undefined {
  const [, start = '', length] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const address = parseAddress(start);
  if (!address) return undefined;
  const maxBits = address.kind() === 'ipv4' ? 32 : 128;
  const bits = Number(length ?? maxBits);
  return bits <= maxBits ? [address, bits] : undefined;
}

/**
 * The address of the client: that of the peer, or, if the peer is a trusted proxy, the last address in `X-Forwarded-For`
 * that is not a trusted proxy. Proxies append to the header, and the client can write anything before that, so the header
 * is read from its end. At an entry that is not an address, the result is the last trusted proxy.
 *
 * The package `proxy-addr` (2.0.8) does not fit: it returns the entries as text, so that `unknown`, `203.0.113.1:4711` and
 * `::ffff:203.0.113.1` would be recorded in the audit trail as they are, and it accepts the networks `loopback` and `2`.
 */
export function clientIp(
  { socket, headers }: Pick<IncomingMessage, 'socket' | 'headers'>,
  trusted: readonly AddressRange[],
): string | undefined {
  let address = peerAddress(socket);
  const forwarded = [headers['x-forwarded-for'] ?? []].flat().join(',').split(',');
  while (address && isInRanges(address, trusted)) {
    const next = parseAddress(forwarded.pop() ?? '');
    if (!next) break;
    address = next;
  }
  return address?.toString();
}

/** Whether the peer of the connection is a trusted proxy, so that its other `X-Forwarded-` headers can be used. */
export function isFromTrustedProxy(
  { socket }: Pick<IncomingMessage, 'socket'>,
  trusted: readonly AddressRange[],
): boolean {
  const peer = peerAddress(socket);
  return peer !== undefined && isInRanges(peer, trusted);
}

function isInRanges(address: IPv4 | IPv6, ranges: readonly AddressRange[]): boolean {
  return ranges.some(([network, bits]) => address.kind() === network.kind() && address.match(network, bits));
}

const peerAddresses = new WeakMap<Socket, IPv4 | IPv6 | undefined>();

/** Cached for the connection: `ipaddr.js` takes 47 µs to parse an IPv4-mapped IPv6 address. */
function peerAddress(socket: Socket): IPv4 | IPv6 | undefined {
  if (!peerAddresses.has(socket)) peerAddresses.set(socket, parseAddress(socket.remoteAddress ?? ''));
  return peerAddresses.get(socket);
}

/** Unwraps IPv4-mapped IPv6 addresses (`::ffff:192.0.2.1`), and removes the port that some proxies add. */
function parseAddress(text: string): IPv4 | IPv6 | undefined {
  const [, bracketed, v4] = /^\[([^\]]+)\](?::\d+)?$|^([\d.]+):\d+$/.exec(text.trim()) ?? [];
  const address = bracketed ?? v4 ?? text.trim();
  // ipaddr.js would also accept a number, such as `2`, as an IPv4 address.
  const isValid = ipaddr.IPv4.isValidFourPartDecimal(address) || ipaddr.IPv6.isValid(address);
  return isValid ? ipaddr.process(address) : undefined;
}
