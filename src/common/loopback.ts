import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Whether an address is a loopback address. An IPv4-mapped IPv6 address counts as the IPv4 address. */
export function isLoopbackAddress(address: string): boolean {
  return isIP(address) !== 0 && ipaddr.process(address).range() === 'loopback';
}

/** Whether the host of a URL or of a `Host` header, in lower case, is `localhost` or a loopback address. */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || isLoopbackAddress(host.replace(/^\[|\]$/g, ''));
}
