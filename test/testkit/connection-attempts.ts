import { createHook } from 'node:async_hooks';
import { isIPv6 } from 'node:net';

/** The TCP connections that this process tries to make, until it is disposed of. */
export interface ConnectionAttempts extends Disposable {
  readonly count: number;
  /** The destinations: `127.0.0.1:4000`, `[::1]:4000`. */
  targets(): string[];
}

/** What Node hangs on the request for a connection, a moment after it is made. */
interface ConnectRequest {
  address?: string;
  port?: number;
}

/**
 * Counts the TCP connections that this process tries to make, TLS or not, whether or not anybody answers.
 * Node's own channel `net.client.socket` cannot tell that: it speaks before the name is looked up, and not for TLS.
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
