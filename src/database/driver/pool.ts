import type { TenantUsage } from '../../common/tenant-usage.ts';
import { instrumentClient } from './client.ts';
import { releaseDeadClients } from './dead-clients.ts';
import { withFairQueue } from './fair-pool.ts';
import type { Pool } from './types.ts';

/**
 * Extends a pool with sessions, fair shares, prepared statements and a limit on silence (docs/adr/0010-driver-extensions.md).
 *
 * @param prepares whether statements may be prepared
 */
export function instrumentPool(pool: Pool, usage: TenantUsage, prepares: boolean): void {
  pool.on('connect', (client) => instrumentClient(client, usage, prepares));
  releaseDeadClients(pool);
  pool.connect = withFairQueue(pool, usage);
}
