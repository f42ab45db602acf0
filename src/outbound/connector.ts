import { isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { buildConnector } from 'undici';
import { isLoopbackAddress } from '../common/loopback.ts';
import { isLoopbackName, normalizeHost } from './address.ts';
import { type Address, type Lookup, resolve, staticLookup } from './dns.ts';
import { HandshakeLimit } from './handshake-limit.ts';
import { type HttpProxy, openTunnel } from './proxy.ts';
import { startDeadline } from './timeout.ts';
import { loadUndici } from './undici.ts';
import { limitWire, type WireLimits } from './wire-limit.ts';

/** The settings of a connector. */
export interface ConnectorSettings {
  lookup: Lookup;
  /** Resolves the proxy. */
  proxyLookup: Lookup;
  /** Whether to refuse addresses that are not public. */
  isGuarded: boolean;
  /** Absent for direct connections. */
  proxy: HttpProxy | undefined;
  /** Whether the proxy resolves names instead of this server. */
  proxyResolves: boolean;
  /** The time limit of a request, including the connection. */
  timeoutMs: number;
  /** The limits of one response. */
  wireLimits: WireLimits;
  /** Aborts connection attempts. */
  closing: AbortSignal;
  /** Called after the handshake with a host whose certificate was verified. */
  onHandshake(origin: string, socket: Socket): void;
  /** Holds the slot of the request during the connection attempt. */
  holdSlot(): Disposable | undefined;
}

/** The share of the time limit for DNS and the proxy, so that their time-out is reported as theirs. */
const proxyShare = 0.8;

type Connector = buildConnector.connector;
type Target = Parameters<Connector>[0];
type Connected = Exclude<Parameters<Parameters<Connector>[1]>[1], null>;

/**
 * Creates the function that opens connections. A name is resolved once, and the connection goes to an address that was
 * checked, which prevents DNS rebinding; TLS verifies the name. If the proxy resolves names, it gets the name, and TLS
 * verifies that.
 */
export function createConnector(settings: ConnectorSettings): Connector {
  const { lookup, isGuarded, proxy, timeoutMs, closing } = settings;

  /** Resolves the name, connects directly or through the proxy, and starts TLS. */
  async function connect(target: Target): Promise<Connected> {
    using _ = settings.holdSlot();
    using deadline = startDeadline(timeoutMs, [closing]);
    const options = buildOptions(timeoutMs, deadline.signal);
    const wire = await (proxy ? throughProxy(proxy, target, options) : direct(target, options));
    const socket = target.protocol === 'https:' ? await startTls(target, wire, options) : wire;
    limitWire(socket, wire, settings.wireLimits);
    return socket;
  }

  async function startTls(
    target: Target,
    wire: Socket,
    options: buildConnector.BuildOptions,
  ): Promise<Connected> {
    const limited = new HandshakeLimit(wire);
    try {
      // undici passes it to `tls.connect`, which accepts any stream.
      const socket = await toPromise(loadUndici().buildConnector(options), {
        ...target,
        httpSocket: limited as Duplex as Socket,
      });
      limited.finish();
      settings.onHandshake(`https://${target.host}`, socket);
      return socket;
    } catch (error) {
      wire.destroy();
      throw error;
    }
  }

  async function direct(target: Target, options: buildConnector.BuildOptions): Promise<Connected> {
    return dial(target, await resolveHost(target.hostname), options);
  }

  async function throughProxy(
    httpProxy: HttpProxy,
    target: Target,
    options: buildConnector.BuildOptions,
  ): Promise<Connected> {
    const { hostname } = target;
    const port = effectivePort(target);
    const ms = timeoutMs * proxyShare;
    using deadline = startDeadline(ms, [closing]);
    const tunnel = (hosts: readonly string[]) =>
      openTunnel(httpProxy, { hosts, port, lookup: settings.proxyLookup }, deadline.signal);
    if (settings.proxyResolves && isIP(hostname) === 0 && !isLoopbackName(hostname)) {
      return await tunnel([normalizeHost(hostname)]);
    }
    const defaultMessage = deadline.message;
    deadline.message = `the host name could not be resolved within ${ms / 1000} s`;
    const addresses = await deadline.within(resolveHost(hostname));
    deadline.message = defaultMessage;
    // A loopback address is this machine; to the proxy, it would be the machine of the proxy.
    if (addresses.every(({ address }) => isLoopbackAddress(address)))
      return await dial(target, addresses, options);
    return await tunnel(addresses.map(({ address, family }) => (family === 6 ? `[${address}]` : address)));
  }

  /** A host that is an address was checked before; undici has removed its brackets. */
  async function resolveHost(hostname: string): Promise<[Address, ...Address[]]> {
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

function buildOptions(
  timeout: number,
  signal: AbortSignal,
): buildConnector.BuildOptions & { signal: AbortSignal } {
  return {
    allowH2: false,
    // A resumed session skips certificate verification, and undici's session cache ignores the port.
    maxCachedSessions: 0,
    timeout,
    // Explicit, so that NODE_TLS_REJECT_UNAUTHORIZED has no effect.
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
  const connector = loadUndici().buildConnector({ ...options, lookup: staticLookup(addresses) });
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
