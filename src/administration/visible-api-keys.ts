import type { FilterQuery } from '@mikro-orm/postgresql';
import type { Database } from '../database/database.ts';
import { ApiKey } from '../identity/api-key.entity.ts';
import type { Caller } from '../identity/caller.ts';

/** The API keys of the organisation, or those of them that are limited to projects of the caller. */
export function apiKeyVisibilityFilter({ orgId, projectIds }: Caller): FilterQuery<ApiKey> {
  return { orgId, ...(projectIds && { projectIds: { $contained: [...projectIds] } }) };
}

/**
 * Leaves out of API keys who made them where that is a key that the caller does not see: its id is in no list that the
 * caller can read. Their `createdBy` changes, so they must not be flushed afterwards.
 */
export async function hideCreators(
  { database }: { database: Database },
  caller: Caller,
  keys: readonly ApiKey[],
): Promise<void> {
  if (!caller.projectIds) return;
  const creators = new Set(keys.flatMap(({ createdBy }) => creatorId(createdBy) ?? []));
  if (creators.size === 0) return;
  const isVisible = { $and: [apiKeyVisibilityFilter(caller), { id: { $in: [...creators] } }] };
  const found = await database.forOrganisation(caller.orgId).find(ApiKey, isVisible, { fields: ['id'] });
  const visible = new Set([caller.keyId, ...found.map(({ id }) => id)]);
  for (const key of keys) {
    const id = creatorId(key.createdBy);
    if (id !== undefined && !visible.has(id)) key.createdBy = null;
  }
}

function creatorId(createdBy: string | null | undefined): string | undefined {
  return createdBy?.startsWith('key:') ? createdBy.slice('key:'.length) : undefined;
}
