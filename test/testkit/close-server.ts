import { once } from 'node:events';
import type { Server } from 'node:net';

/** Closes an HTTP server and its open connections; does nothing when it does not listen. */
export async function closeServer(server: Server & { closeAllConnections(): void }): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}
