import { createHook } from 'node:async_hooks';

/**
 * Counts the TCP connections that this process tries to make, TLS or not, whether or not anybody answers.
 * Node's own channel `net.client.socket` cannot tell that: it speaks before the name is looked up, and not for TLS.
 */
export function countConnectionAttempts(): Disposable & { readonly count: number } {
  let count = 0;
  const hook = createHook({
    init(_id, type) {
      if (type === 'TCPCONNECTWRAP') count += 1;
    },
  }).enable();
  return {
    get count() {
      return count;
    },
    [Symbol.dispose]: () => void hook.disable(),
  };
}
