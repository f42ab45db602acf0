import DataLoader from 'dataloader';
import { timed } from '../common/log.ts';

/**
 * Combines the lookups of one pass of the event loop, across requests, into one call. It caches nothing.
 *
 * @param find returns the values for the keys, in their order
 */
export function createBatchLoader<Value, Key = string>(
  find: (keys: readonly Key[]) => Promise<readonly Value[]>,
): (key: Key) => Promise<Value> {
  const loader = new DataLoader(find, {
    cache: false,
    batchScheduleFn: (dispatch) => setImmediate(dispatch),
    maxBatchSize: 100,
  });
  return (key) => timed('database', () => loader.load(key));
}
