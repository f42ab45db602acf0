import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import ipaddr, { type IPv4, type IPv6 } from 'ipaddr.js';

/** An address, or a network and how many bits of it count. */
export type AddressRange = readonly [IPv4 | IPv6, number];

/** @returns the range that `10.0.0.0/8`, `10.1.2.3` or `fd00::/8` means; undefined when it means none */
export function parseRange(text: string): AddressRange | undefined {
  const [, start = '', length] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const address = parse(start);
  if (!address) return undefined;
  const most = address.kind() === 'ipv4' ? 32 : 128;
  const bits = Number(length ?? most);
  return bits <= most ? [address, bits] : undefined;
}

/**
 * Where a request came from: the address of the other side, or, if that is a proxy that is trusted, whoever the proxy
 * says it is. Proxies add to the end of `X-Forwarded-For`, and what is before that anybody may have written; so it is read
 * from its end, and no further than to the first address that is no trusted proxy's.
 */
export function clientIp(
  { socket, headers }: Pick<IncomingMessage, 'socket' | 'headers'>,
  trusted: readonly AddressRange[],
): string | undefined {
  let address = peerAddress(socket);
  const isProxy = (of: IPv4 | IPv6) =>
    trusted.some(([network, bits]) => of.kind() === network.kind() && of.match(network, bits));
  const forwarded = [headers['x-forwarded-for'] ?? []].flat().join(',').split(',');
  while (address && isProxy(address)) {
    const next = parse(forwarded.pop() ?? '');
    if (!next) break;
    address = next;
  }
  return address?.toString();
}

const peers = new WeakMap<Socket, IPv4 | IPv6 | undefined>();

/** Who is at the other end: the same for all requests of a connection. */
function peerAddress(socket: Socket): IPv4 | IPv6 | undefined {
  if (!peers.has(socket)) peers.set(socket, parse(socket.remoteAddress ?? ''));
  return peers.get(socket);
}

/** IPv4 in the clothes of IPv6 is IPv4. Some proxies add the port. */
function parse(text: string): IPv4 | IPv6 | undefined {
  const [, bracketed, v4] = /^\[([^\]]+)\](?::\d+)?$|^([\d.]+):\d+$/.exec(text.trim()) ?? [];
  const address = bracketed ?? v4 ?? text.trim();
  // Else a bare number would be an address too.
  const isWhole = ipaddr.IPv4.isValidFourPartDecimal(address) || ipaddr.IPv6.isValid(address);
  return isWhole ? ipaddr.process(address) : undefined;
}
