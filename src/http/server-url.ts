import type { Server } from 'node:net';

/** Returns the URL of a server that listens on a port of this host name or address. */
export function serverUrl(server: Server, scheme: 'http' | 'https', host: string): string {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('The server listens on no port.');
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${address.port}`;
}
