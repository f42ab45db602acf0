import { createHook } from 'node:async_hooks';
import { isIPv6 } from 'node:net';

/** The TCP connections that this process tries to make, until it is disposed of. */
export interface ConnectionAttempts extends Disposable {
  readonly count: number;
  /** The destinations: `127.0.0.1:4000`, `[::1]:4000`. */
  targets(): string[];
}

/** What Node sets on the TCPConnectWrap shortly after it creates it. */
interface ConnectRequest {
  address?: string;
  port?: number;
}

/**
 * Records the TCP connections that this process attempts, with or without TLS, also failed ones.
 * Node's channel `net.client.socket` does not suffice: it publishes before the DNS lookup, and not for TLS.
 */
export function countConnectionAttempts(): ConnectionAttempts {
  const requests: ConnectRequest[] = [];
  const hook = createHook({
    init(_id, type, _trigger, resource) {
      if (type === 'TCPCONNECTWRAP') requests.push(resource);
    },
  }).enable();
  return {
    get count() {
      return requests.length;
    },
    targets: () =>
      requests.map(({ address = '', port }) => `${isIPv6(address) ? `[${address}]` : address}:${port}`),
    [Symbol.dispose]: () => void hook.disable(),
  };
}
