import { openStores, type Stores } from '../bootstrap/stores.ts';
import { createLog } from '../common/log.ts';
import { readConfig } from '../config/read-config.ts';
import type { Invocation } from './program.ts';

/** Opens the database and the keys of the configuration for a program, without a log, and closes them after its task. */
export async function withStores<Result>(
  { environment, ownsProcess }: Invocation,
  task: (stores: Stores) => Promise<Result>,
): Promise<Result> {
  const stores = await openStores(readConfig(environment), createLog('silent'), {
    limitsMemory: ownsProcess,
  });
  try {
    return await task(stores);
  } finally {
    await stores.close();
  }
}
