import { isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { buildConnector } from 'undici';
import { isLoopbackAddress, isLoopbackName, normalizeHost } from './address.ts';
import { type Address, type Lookup, resolve, staticLookup } from './dns.ts';
import { HandshakeLimit } from './handshake-limit.ts';
import { type HttpProxy, openTunnel } from './proxy.ts';
import { startDeadline } from './timeout.ts';
import { limitWireBytes } from './wire-limit.ts';

/** How connections are made. */
export interface ConnectorSettings {
  lookup: Lookup;
  /** Finds the addresses of the proxy. */
  proxyLookup: Lookup;
  /** Whether what is not on the public internet is refused. */
  isGuarded: boolean;
  /** Absent: connections are made directly. */
  proxy: HttpProxy | undefined;
  /** Whether the proxy looks names up, and this server does not. */
  proxyResolves: boolean;
  /** Milliseconds for an exchange, of which a connection is the beginning. */
  timeoutMs: number;
  /** The most bytes that a host may send for one request, of whatever kind. */
  maxWireBytes: number;
  /** Ends connections that are being made. */
  closing: AbortSignal;
  /** Keeps the slot of the exchange that needs the connection for as long as it is being made. */
  holdSlot(): Disposable | undefined;
}

/** Of the time of an exchange, what the name and the proxy may take; the rest is for saying whose fault it was. */
const proxyShare = 0.8;

type Connector = buildConnector.connector;
type Target = Parameters<Connector>[0];
type Connected = Exclude<Parameters<Parameters<Connector>[1]>[1], null>;

/**
 * Makes the connections of a client. Whichever way they are made, a name is looked up here and once, and the
 * connection is made to an address that was checked; TLS verifies the name. Where the proxy looks names up, it is told
 * the name, and TLS verifies that.
 */
export function createConnector(settings: ConnectorSettings): Connector {
  const { lookup, isGuarded, proxy, timeoutMs, closing } = settings;

  /** All of it: name, connection or tunnel, TLS. */
  async function connect(target: Target): Promise<Connected> {
    using _ = settings.holdSlot();
    using deadline = startDeadline(timeoutMs, [closing]);
    const options = optionsFor(timeoutMs, deadline.signal);
    const wire = await (proxy ? throughProxy(proxy, target, options) : direct(target, options));
    const socket = target.protocol === 'https:' ? await startTls(target, wire, options) : wire;
    limitWireBytes(socket, wire, settings.maxWireBytes);
    return socket;
  }

  async function startTls(
    target: Target,
    wire: Socket,
    options: buildConnector.BuildOptions,
  ): Promise<Connected> {
    const limited = new HandshakeLimit(wire);
    try {
      // undici only hands it on to `tls.connect`, which takes any stream.
      const socket = await toPromise(buildConnector(options), {
        ...target,
        httpSocket: limited as Duplex as Socket,
      });
      limited.finish();
      return socket;
    } catch (error) {
      wire.destroy();
      throw error;
    }
  }

  async function direct(target: Target, options: buildConnector.BuildOptions): Promise<Connected> {
    return dial(target, await addressesOf(target.hostname), options);
  }

  async function throughProxy(
    via: HttpProxy,
    target: Target,
    options: buildConnector.BuildOptions,
  ): Promise<Connected> {
    const { hostname } = target;
    const port = effectivePort(target);
    const ms = timeoutMs * proxyShare;
    using deadline = startDeadline(ms, [closing]);
    const tunnel = (hosts: readonly string[]) =>
      openTunnel(via, { hosts, port, lookup: settings.proxyLookup }, deadline.signal);
    if (settings.proxyResolves && isIP(hostname) === 0 && !isLoopbackName(hostname)) {
      return await tunnel([normalizeHost(hostname)]);
    }
    const answered = deadline.message;
    deadline.message = `the host name could not be resolved within ${ms / 1000} s`;
    const addresses = await deadline.within(addressesOf(hostname));
    deadline.message = answered;
    // What is on this machine does not leave it; and to the proxy it would be the proxy's machine.
    if (addresses.every(({ address }) => isLoopbackAddress(address)))
      return await dial(target, addresses, options);
    return await tunnel(addresses.map(({ address, family }) => (family === 6 ? `[${address}]` : address)));
  }

  /** An address as a host was checked before; undici has taken its brackets off. */
  async function addressesOf(hostname: string): Promise<[Address, ...Address[]]> {
    const family = isIP(hostname);
    if (family !== 0) return [{ address: hostname, family: family === 6 ? 6 : 4 }];
    return resolve(lookup, hostname, isGuarded);
  }

  return (target, callback) => {
    connect(target).then(
      (socket) => callback(null, socket),
      (error: Error) => callback(error, null),
    );
  };
}

function optionsFor(
  timeout: number,
  signal: AbortSignal,
): buildConnector.BuildOptions & { signal: AbortSignal } {
  return {
    allowH2: false,
    // A resumed session is not verified again, and undici keeps sessions by name without the port.
    maxCachedSessions: 0,
    timeout,
    // Said aloud, because NODE_TLS_REJECT_UNAUTHORIZED would otherwise decide.
    rejectUnauthorized: true,
    signal,
  };
}

/** Connects to one of these addresses, without TLS. */
function dial(
  target: Target,
  addresses: readonly [Address, ...Address[]],
  options: buildConnector.BuildOptions,
): Promise<Connected> {
  const connector = buildConnector({ ...options, lookup: staticLookup(addresses) });
  return toPromise(connector, { ...target, protocol: 'http:', port: String(effectivePort(target)) });
}

function effectivePort({ port, protocol }: Target): number {
  return Number(port || (protocol === 'https:' ? 443 : 80));
}

function toPromise(connector: Connector, target: Target): Promise<Connected> {
  return new Promise((resolve, reject) => {
    connector(target, (error, socket) => (socket ? resolve(socket) : reject(error)));
  });
}
