/**
 * Reads every organisation's audit trail from its start: `npm run audit:verify`. Exit code 1, and the first event that
 * was edited, removed or moved, when one is not whole.
 */
import { Organisation } from './access/organisation.entity.ts';
import { verifyChain } from './audit/chain.ts';
import { readConfig } from './config.ts';
import { describeFailure } from './failure.ts';
import { createLog } from './log.ts';
import { openStores, type Stores } from './stores.ts';

try {
  const stores = await openStores(readConfig(), createLog('silent'));
  try {
    await verify(stores);
  } finally {
    await stores.close();
  }
} catch (error) {
  console.error(`Cannot verify: ${describeFailure(error)}`);
  process.exitCode = 1;
}

async function verify({ database, vault, checkKeys }: Stores): Promise<void> {
  await checkKeys();
  for (const { id } of await database.forkAcross().find(Organisation, {}, { orderBy: { id: 'asc' } })) {
    const found = await verifyChain(() => database.fork(id), vault, id);
    if ('problem' in found) {
      console.log(`organisation ${id}: event ${found.seq} was ${found.problem}`);
      process.exitCode = 1;
    } else {
      console.log(`organisation ${id}: ${found.events} events, whole`);
    }
  }
}
