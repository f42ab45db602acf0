import { isIP } from 'node:net';
import { buildConnector } from 'undici';
import { isLoopback } from './address.ts';
import { startDeadline } from './deadline.ts';
import { type Address, giving, type Lookup, resolve, socketLookup } from './lookup.ts';
import { type HttpProxy, openTunnel } from './proxy.ts';

/** How connections are to be made. */
export interface ConnectorSettings {
  lookup: Lookup;
  /** Whether what is not on the public internet is refused. */
  isGuarded: boolean;
  /** Absent: connections are made directly. */
  proxy: HttpProxy | undefined;
  /** Milliseconds for an exchange, of which a connection is the beginning. */
  timeoutMs: number;
  /** Ends connections that are being made. */
  closing: AbortSignal;
}

/** Of the time of an exchange, what the name and the proxy may take; the rest is for saying whose fault it was. */
const proxyShare = 0.8;

type Connector = buildConnector.connector;
type Target = Parameters<Connector>[0];
type Connected = Exclude<Parameters<Parameters<Connector>[1]>[1], null>;

/**
 * Makes the connections of a client. Whichever way they are made, a name is looked up here and once, and the
 * connection is made to an address that was checked; TLS verifies the name.
 */
export function createConnector(settings: ConnectorSettings): Connector {
  const { lookup, isGuarded, proxy, timeoutMs, closing } = settings;
  const options: buildConnector.BuildOptions & { signal: AbortSignal } = {
    allowH2: false,
    // A resumed session is not verified again, and undici keeps sessions by name without the port.
    maxCachedSessions: 0,
    timeout: timeoutMs,
    // Said aloud, because NODE_TLS_REJECT_UNAUTHORIZED would otherwise decide.
    rejectUnauthorized: true,
    signal: closing,
  };
  if (!proxy) return buildConnector({ ...options, lookup: socketLookup(lookup, isGuarded) });

  async function connect(via: HttpProxy, target: Target): Promise<Connected> {
    const ms = timeoutMs * proxyShare;
    using deadline = startDeadline(ms, [closing]);
    const answered = deadline.message;
    deadline.message = `the host name could not be looked up within ${ms / 1000} s`;
    const addresses = await deadline.within(addressesOf(target.hostname));
    deadline.message = answered;
    // What is on this machine does not leave it; and to the proxy it would be the proxy's machine.
    if (addresses.every(({ address }) => isLoopback(address))) {
      return promised(buildConnector({ ...options, lookup: giving(addresses) }), target);
    }
    const port = Number(target.port || (target.protocol === 'https:' ? 443 : 80));
    const socket = await openTunnel(via, { addresses, port }, deadline.signal);
    return target.protocol === 'https:'
      ? promised(buildConnector(options), { ...target, httpSocket: socket })
      : socket;
  }

  /** An address as a host was checked before; undici has taken its brackets off. */
  async function addressesOf(hostname: string): Promise<[Address, ...Address[]]> {
    const family = isIP(hostname);
    if (family !== 0) return [{ address: hostname, family: family === 6 ? 6 : 4 }];
    return resolve(lookup, hostname, isGuarded);
  }

  return (target, callback) => {
    connect(proxy, target).then(
      (socket) => callback(null, socket),
      (error: Error) => callback(error, null),
    );
  };
}

function promised(connector: Connector, target: Target): Promise<Connected> {
  return new Promise((resolve, reject) => {
    connector(target, (error, socket) => (socket ? resolve(socket) : reject(error)));
  });
}
