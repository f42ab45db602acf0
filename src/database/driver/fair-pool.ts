import { timed } from '../../common/log.ts';
import type { TenantUsage } from '../../common/tenant-usage.ts';
import { FairQueue } from './fair-queue.ts';
import { currentHolder, currentSession, currentTenant } from './session.ts';
import type { Pool } from './types.ts';

/** The longest wait for a turn, in milliseconds; as long as the wait for a connection. */
const queueTimeoutMs = 5_000;

/** The number of tasks that wait for a connection of a pool. */
export const waitingCounts = new WeakMap<Pool, () => number>();

/**
 * Shares the connections of a pool among organisations. An organisation holds at most half of the connections, less one,
 * and waiting requests get connections round-robin by organisation. One connection is reserved for tasks that hold one
 * already and need another, so that they never wait for a share that they hold themselves. An
 * organisation that `usage` delays holds one connection. Each kind of background work counts as one organisation.
 *
 * Works around pg-pool, which serves requests first come, first served. Remove it when pg-pool supports shares of tenants.
 *
 * @returns a replacement of `pool.connect`
 */
export function withFairQueue(pool: Pool, usage: TenantUsage): Pool['connect'] {
  const connect = pool.connect.bind(pool);
  const { max } = pool.options;
  const capacity = Math.max(1, max - 1);
  const share = Math.max(1, Math.floor(max / 2) - 1);
  const delayOf = (tenantId: string) => usage.delayOf(tenantId);
  const queue = new FairQueue({ capacity, share, delayOf, timeoutMs: queueTimeoutMs });
  let waiting = 0;
  waitingCounts.set(pool, () => waiting);
  const endTurn = new WeakMap<object, () => void>();
  pool.on('release', (_, client) => {
    endTurn.get(client)?.();
    endTurn.delete(client);
  });
  const acquire = async () => {
    const holder = currentHolder();
    const wait = async (): Promise<() => void> => {
      waiting += 1;
      try {
        const tenantId = currentTenant();
        return await usage.countDatabaseWait(tenantId, () => queue.acquire(tenantId));
      } finally {
        waiting -= 1;
      }
    };
    const release = holder.connections > 0 ? () => undefined : await wait();
    holder.connections += 1;
    const { orgId, isScan } = currentSession();
    let acquiredAt = performance.now();
    const end = () => {
      if (isScan) usage.addScanTime(orgId, performance.now() - acquiredAt);
      holder.connections -= 1;
      release();
    };
    try {
      const client = await connect();
      acquiredAt = performance.now();
      endTurn.set(client, end);
      return client;
    } catch (error) {
      end();
      throw error;
    }
  };
  return () => timed('database', () => timed('pool', acquire));
}
