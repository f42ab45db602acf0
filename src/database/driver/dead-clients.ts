import type { Pool } from './types.ts';

/**
 * Releases clients whose connection ends while they are in use.
 *
 * Works around https://github.com/kysely-org/kysely/issues/1990: Kysely does not release a client on which `begin` fails, or
 * neither commit nor rollback succeeds, so the pool loses a slot each time. Remove it when that issue is fixed.
 */
export function releaseDeadClients(pool: Pool): void {
  const inUse = new WeakSet<object>();
  pool.on('acquire', (client) => inUse.add(client));
  pool.on('release', (_, client) => inUse.delete(client));
  pool.on('connect', (client) =>
    client.once('end', () => {
      if (!inUse.has(client)) return;
      client.release(true);
      // A second release throws.
      client.release = () => undefined;
    }),
  );
}
