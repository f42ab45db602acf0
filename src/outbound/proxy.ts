import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import { Secret } from '../common/secret.ts';
import { normalizeHost } from './address.ts';
import { type Lookup, socketLookup } from './dns.ts';
import { toProxyError } from './error-mapping.ts';
import { OutboundError } from './outbound-error.ts';

/** The operator's HTTP proxy, used with CONNECT. */
export interface HttpProxy {
  /** A name or an address, without brackets. */
  host: string;
  port: number;
  /** The value of `Proxy-Authorization`. */
  authorization?: Secret;
}

/** The settings of the operator's HTTP proxy, as in `Config`. */
export interface ProxySettings {
  outboundProxy: HttpProxy | undefined;
  outboundProxyResolves: boolean;
}

/**
 * Parses `http://host:port` or `http://user:password@host:port`, where user and password are percent-encoded.
 *
 * @returns undefined if it is anything else
 */
export function parseProxy(text: string): HttpProxy | undefined {
  const url = URL.parse(text);
  // Matched on the text, because `URL` drops port 80 and an empty path, query or fragment.
  if (!url || !/^http:\/\/[^/?#]+:\d+\/?$/i.test(text)) return undefined;
  const host = normalizeHost(url.hostname);
  const endpoint = { host, port: Number(url.port || 80) };
  if (endpoint.port === 0) return undefined;
  if (url.username === '' && url.password === '') return endpoint;
  const user = decode(url.username);
  const password = decode(url.password);
  // RFC 7617: the password starts after the first colon.
  if (user === undefined || password === undefined || user.includes(':')) return undefined;
  const credentials = Buffer.from(`${user}:${password}`).toString('base64');
  return { ...endpoint, authorization: new Secret(`Basic ${credentials}`) };
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** A name can have several addresses, and the proxy can take seconds for each dead one. */
const maxHosts = 4;

/** The target of a tunnel. */
export interface TunnelTarget {
  /** Addresses, of which the first reachable one is used; or one name that the proxy resolves. */
  hosts: readonly string[];
  port: number;
  /** Resolves the proxy itself. */
  lookup: Lookup;
}

/**
 * Opens a tunnel through the proxy to the first host that it reaches. Unless the proxy resolves names, it gets addresses and
 * no name: it would resolve the name again and could get an address that was not checked.
 *
 * @param signal aborts with an OutboundError
 * @throws OutboundError `PROXY`, or `ABORTED`
 */
export async function openTunnel(
  proxy: HttpProxy,
  { hosts, port, lookup }: TunnelTarget,
  signal: AbortSignal,
): Promise<Socket> {
  let status = 0;
  for (const host of hosts.slice(0, maxHosts)) {
    const result = await connect(proxy, { target: `${host}:${port}`, lookup }, signal);
    status = result.status;
    if (result.socket) return result.socket;
    // With these, the address is at fault, and another one may work.
    if (![502, 503, 504].includes(status)) break;
  }
  throw new OutboundError('PROXY', describeStatus(status));
}

/** Sends one CONNECT request. There is a socket only on success. */
async function connect(
  { host, port, authorization }: HttpProxy,
  { target, lookup }: { target: string; lookup: Lookup },
  signal: AbortSignal,
): Promise<{ status: number; socket?: Socket }> {
  const connectRequest = request({
    // Node's global agent may use another proxy, from the environment.
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
  connectRequest.on('error', () => undefined);
  try {
    const connected = await once(connectRequest.end(), 'connect', { signal });
    const [{ statusCode: status = 0 }, socket, early] = connected as [IncomingMessage, Socket, Buffer];
    socket.on('error', () => undefined);
    if (status < 200 || status >= 300) {
      socket.destroy();
      return { status };
    }
    // Nothing was sent to the host yet, so these bytes are from the proxy.
    if (early.length > 0) {
      socket.destroy();
      throw new OutboundError('PROXY', 'the outbound proxy sent data of its own before the host did');
    }
    return { status, socket };
  } catch (error) {
    connectRequest.destroy();
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
