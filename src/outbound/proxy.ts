import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import { Secret } from '../common/secret.ts';
import { normalizeHost } from './address.ts';
import { type Lookup, socketLookup } from './dns.ts';
import { toProxyError } from './error-mapping.ts';
import { OutboundError } from './outbound-error.ts';

/** The operator's HTTP proxy, which makes connections for us when asked with CONNECT. */
export interface HttpProxy {
  /** A name or an address, without brackets. */
  host: string;
  port: number;
  /** What it wants to see in `Proxy-Authorization`, if anything. */
  authorization?: Secret;
}

/**
 * Reads `http://host:port` or `http://user:password@host:port`, where user and password are percent-encoded.
 *
 * @returns undefined if it is anything else
 */
export function parseProxy(text: string): HttpProxy | undefined {
  const url = URL.parse(text);
  // `URL` leaves a port of 80 out, and takes away the empty path, query and fragment.
  if (!url || !/^http:\/\/[^/?#]+:\d+\/?$/i.test(text)) return undefined;
  const host = normalizeHost(url.hostname);
  const place = { host, port: Number(url.port || 80) };
  if (place.port === 0) return undefined;
  if (url.username === '' && url.password === '') return place;
  const user = decode(url.username);
  const password = decode(url.password);
  // RFC 7617: the first colon is where the password starts.
  if (user === undefined || password === undefined || user.includes(':')) return undefined;
  const credentials = Buffer.from(`${user}:${password}`).toString('base64');
  return { ...place, authorization: new Secret(`Basic ${credentials}`) };
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** A name may have several addresses, and the proxy may take seconds over each that is dead. */
const maxHosts = 4;

/** Where a tunnel leads. */
export interface TunnelTarget {
  /** Addresses, of which the first that the proxy reaches is taken; or one name, for the proxy to look up. */
  hosts: readonly string[];
  port: number;
  /** Finds the addresses of the proxy itself. */
  lookup: Lookup;
}

/**
 * A connection through the proxy to the first of these hosts that it reaches. Unless it looks names up itself, the
 * proxy is told addresses and never a name: it would look the name up again, and might find what was not checked.
 *
 * @param signal aborts with an OutboundError: that the time is over, or that somebody has given up
 * @throws OutboundError `PROXY`, or `ABORTED`
 */
export async function openTunnel(
  proxy: HttpProxy,
  { hosts, port, lookup }: TunnelTarget,
  signal: AbortSignal,
): Promise<Socket> {
  let status = 0;
  for (const host of hosts.slice(0, maxHosts)) {
    const answer = await connect(proxy, { target: `${host}:${port}`, lookup }, signal);
    status = answer.status;
    if (answer.socket) return answer.socket;
    // Only these say that the fault is with the address.
    if (![502, 503, 504].includes(status)) break;
  }
  throw new OutboundError('PROXY', describeStatus(status));
}

/** Asks the proxy once. There is a socket only if it agreed. */
async function connect(
  { host, port, authorization }: HttpProxy,
  { target, lookup }: { target: string; lookup: Lookup },
  signal: AbortSignal,
): Promise<{ status: number; socket?: Socket }> {
  const asking = request({
    // Node's own agent may have been told of another proxy by the environment.
    agent: false,
    host,
    port,
    lookup: socketLookup(lookup),
    method: 'CONNECT',
    path: target,
    headers: {
      host: target,
      'user-agent': 'app-connections',
      ...(authorization && { 'proxy-authorization': authorization.reveal() }),
    },
  });
  asking.on('error', () => undefined);
  try {
    const answer = await once(asking.end(), 'connect', { signal });
    const [{ statusCode: status = 0 }, socket, early] = answer as [IncomingMessage, Socket, Buffer];
    socket.on('error', () => undefined);
    if (status < 200 || status >= 300) {
      socket.destroy();
      return { status };
    }
    // Nobody behind it has been asked anything yet, so these would be the proxy's own words.
    if (early.length > 0) {
      socket.destroy();
      throw new OutboundError('PROXY', 'the outbound proxy sent data of its own before the host did');
    }
    return { status, socket };
  } catch (error) {
    asking.destroy();
    throw toProxyError(signal.aborted ? signal.reason : error);
  }
}

function describeStatus(status: number): string {
  switch (status) {
    case 407:
      return 'the outbound proxy rejected the user name or password (status 407)';
    case 403:
      return 'the outbound proxy denied the connection (status 403)';
    case 502:
    case 503:
    case 504:
      return `the outbound proxy could not connect to the host (status ${status})`;
    default:
      return `the outbound proxy did not connect (status ${status})`;
  }
}
