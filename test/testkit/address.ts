import { once } from 'node:events';
import net, { type Socket } from 'node:net';

/** An address that leads to one server after another, like a load balancer, a virtual address or a DNS name. */
export interface Address extends AsyncDisposable {
  port: number;
  /**
   * Leads new connections to a port of 127.0.0.1, or refuses them without one. Connections that are open stay, and the
   * address may close them.
   */
  leadTo(port: number | undefined, options?: { closes: boolean }): void;
  /** The number of connections so far. */
  connections(): number;
}

/** Listens on an address, by default on a free port of 127.0.0.1. */
export async function openAddress(leadsTo?: number, host = '127.0.0.1', port = 0): Promise<Address> {
  let target = leadsTo;
  let connections = 0;
  const sockets = new Set<Socket>();
  const server = net.createServer((client) => {
    connections += 1;
    if (target === undefined) {
      client.destroy();
      return;
    }
    const database = net.connect(target, '127.0.0.1');
    client.pipe(database).pipe(client);
    for (const socket of [client, database]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        sockets.delete(socket);
        client.destroy();
        database.destroy();
      });
    }
  });
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the address has no port');
  const close = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: address.port,
    leadTo(next, { closes } = { closes: false }) {
      target = next;
      if (closes) close();
    },
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      close();
      server.close();
      await once(server, 'close');
    },
  };
}
