import { createBatchLoader } from '../database/batch-loader.ts';
import type { Database } from '../database/database.ts';
import { ApiKey } from './api-key.entity.ts';
import type { Caller } from './caller.ts';
import { apiKeyVisibilityFilter } from './visible-api-keys.ts';

const loaders = new WeakMap<Caller, (id: string) => Promise<string | undefined>>();

/**
 * Finds the names of API keys that have used a connection which the caller sees. This needs no scope: who sees a connection
 * has to know who uses it. Limits to projects and connections apply.
 *
 * @returns a function that returns undefined for a key that the caller may not see
 */
export function apiKeyNameLoader(
  { database }: { database: Database },
  caller: Caller,
): (id: string) => Promise<string | undefined> {
  const cached = loaders.get(caller);
  if (cached) return cached;
  const loader = createBatchLoader(async (ids) => {
    const isVisible = { $and: [apiKeyVisibilityFilter(caller), { id: { $in: [...ids] } }] };
    const em = database.forOrganisation(caller.orgId);
    const keys = await em.find(ApiKey, isVisible, { fields: ['id', 'name'] });
    const names = new Map(keys.map(({ id, name }) => [id, name]));
    return ids.map((id) => names.get(id));
  });
  loaders.set(caller, loader);
  return loader;
}
