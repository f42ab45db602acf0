import { FairQueue } from './fair-queue.ts';
import { currentHolder, currentTenant } from './session.ts';
import type { Pool } from './types.ts';

/** How long somebody waits for a turn, as long as for a connection. */
const queueTimeoutMs = 5_000;

/**
 * Has organisations share the connections: one holds at most half of them less one, and those who wait take turns by
 * organisation. One connection is not in the queue but for work that holds one already and needs another: it never waits
 * for its share, which it may hold itself.
 *
 * @returns what connects, in place of `pool.connect`
 */
export function withFairQueue(pool: Pool): Pool['connect'] {
  const connect = pool.connect.bind(pool);
  const { max } = pool.options;
  const capacity = Math.max(1, max - 1);
  const share = Math.max(1, Math.floor(max / 2) - 1);
  const queue = new FairQueue({ capacity, share, timeoutMs: queueTimeoutMs });
  const endTurn = new WeakMap<object, () => void>();
  pool.on('release', (_, client) => {
    endTurn.get(client)?.();
    endTurn.delete(client);
  });
  return async () => {
    const holder = currentHolder();
    const release = holder.connections > 0 ? () => undefined : await queue.acquire(currentTenant());
    holder.connections += 1;
    const end = () => {
      holder.connections -= 1;
      release();
    };
    try {
      const client = await connect();
      endTurn.set(client, end);
      return client;
    } catch (error) {
      end();
      throw error;
    }
  };
}
