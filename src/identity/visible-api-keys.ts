import type { FilterQuery } from '@mikro-orm/postgresql';
import type { Database } from '../database/database.ts';
import { ApiKey } from './api-key.entity.ts';
import type { Caller } from './caller.ts';

/**
 * Returns the filter for the API keys of the organisation, or for those that are limited to projects and connections of the
 * caller.
 */
export function apiKeyVisibilityFilter({ orgId, projectIds, connectionIds }: Caller): FilterQuery<ApiKey> {
  return {
    orgId,
    ...(projectIds && { projectIds: { $contained: [...projectIds] } }),
    ...(connectionIds && { connectionIds: { $contained: [...connectionIds] } }),
  };
}

/**
 * Sets `createdBy` to null if the creator is a key that the caller cannot see. The entities are changed, so they must not be
 * flushed afterwards.
 */
export async function hideCreators(
  { database }: { database: Database },
  caller: Caller,
  keys: readonly ApiKey[],
): Promise<void> {
  if (!caller.projectIds && !caller.connectionIds) return;
  const creators = new Set(keys.flatMap(({ createdBy }) => creatorId(createdBy) ?? []));
  if (creators.size === 0) return;
  const isVisible = { $and: [apiKeyVisibilityFilter(caller), { id: { $in: [...creators] } }] };
  const visibleKeys = await database
    .forOrganisation(caller.orgId)
    .find(ApiKey, isVisible, { fields: ['id'] });
  const visible = new Set([caller.keyId, ...visibleKeys.map(({ id }) => id)]);
  for (const key of keys) {
    const id = creatorId(key.createdBy);
    if (id !== undefined && !visible.has(id)) key.createdBy = null;
  }
}

function creatorId(createdBy: string | null | undefined): string | undefined {
  return createdBy?.startsWith('key:') ? createdBy.slice('key:'.length) : undefined;
}
