import { type FilterQuery, LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { appendEvents, withRequestContext } from '../audit/hash-chain.ts';
import { withRefusalAudit } from '../audit/record-refusals.ts';
import { currentTime } from '../common/clock.ts';
import { AppError } from '../common/errors.ts';
import { ApiKey } from '../identity/api-key.entity.ts';
import { administratorScopes, type Caller } from '../identity/caller.ts';
import { apiKeyVisibilityFilter, hideCreators } from '../identity/visible-api-keys.ts';
import { assertGrantorActive } from './api-keys.ts';
import type { AdministrationDeps } from './deps.ts';

/** The result of a revocation. */
export interface RevokedApiKeys {
  /** The requested key after the revocation. */
  apiKey: ApiKey;
  /** The keys that this request revoked. */
  revoked: ApiKey[];
}

/**
 * Revokes an API key. It stops working on every server within five seconds. Revoking a revoked key changes nothing.
 *
 * @param includeDescendants whether to revoke also the keys that it created, that those created, and so on, which an
 *   attacker may have created
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `LAST_ADMINISTRATOR` (no key is revoked), `UNAUTHENTICATED` (the caller's
 *   key was revoked in the meantime), `RATE_LIMITED`
 * @throws MacMismatch if, with `includeDescendants`, the MAC of any key is invalid; no key is revoked
 */
export async function revokeApiKey(
  deps: AdministrationDeps,
  caller: Caller,
  id: string,
  includeDescendants = false,
): Promise<RevokedApiKeys> {
  const attempt = { action: 'REVOKE_API_KEY', apiKeyId: id } as const;
  const result = await withRefusalAudit(deps, caller, attempt, async () => {
    caller.requireScope('access:admin');
    await deps.limits.checkChange(caller);
    return deps.database.forOrganisation(caller.orgId).transactional(async (em) => {
      const macs = await deps.vault.rowMacs(em);
      const keys = await lockKeys(em, caller, id, includeDescendants);
      await assertGrantorActive(em, macs, caller);
      const apiKey = await em.findOne(ApiKey, { $and: [{ id }, apiKeyVisibilityFilter(caller)] });
      if (!apiKey) throw apiKeyNotFound();
      const isAuthentic = (key: ApiKey) => macs.isAuthentic(em, ApiKey, key);
      // `createdBy` is reliable only in authentic rows. Without the check, a descendant could be missed.
      if (includeDescendants) for (const key of keys) macs.verify(em, ApiKey, key);
      const revoked = [apiKey, ...(includeDescendants ? descendants(apiKey, keys) : [])].filter(
        ({ revokedAt }) => !revokedAt,
      );
      const administrators = keys.filter((key) => isNonExpiringAdministrator(key) && isAuthentic(key));
      const includesAdministrator = revoked.some((key) => administrators.includes(key));
      if (includesAdministrator && administrators.every((key) => revoked.includes(key)))
        throw lastAdministratorError();
      const revokedAt = currentTime();
      for (const key of revoked) {
        macs.verify(em, ApiKey, key);
        key.revokedAt = revokedAt;
      }
      await em.flush();
      const events = revoked.map(({ id: apiKeyId, name: targetName }) =>
        withRequestContext({
          ...caller.actor,
          action: 'REVOKE_API_KEY',
          apiKeyId,
          targetName,
          outcome: 'OK',
          fields: ['revokedAt'],
        }),
      );
      if (events.length > 0) await appendEvents(em, deps, caller.orgId, events);
      return { apiKey, revoked };
    });
  });
  deps.authenticator.invalidateCache();
  await hideCreators(deps, caller, [result.apiKey, ...result.revoked]);
  return result;
}

/**
 * Locks the keys that a revocation depends on: the caller's, the requested one and the non-expiring administrators, or all
 * keys of the organisation. Until the transaction ends, they cannot be revoked or create other keys. They are locked in the
 * order of ids to avoid deadlocks between revocations.
 */
async function lockKeys(
  em: EntityManager,
  { orgId, keyId }: Caller,
  id: string,
  all: boolean,
): Promise<ApiKey[]> {
  const isAdministrator = {
    revokedAt: null,
    expiresAt: null,
    projectIds: null,
    connectionIds: null,
    scopes: { $contains: administratorScopes },
  };
  const filter = {
    orgId,
    ...(!all && { $or: [isAdministrator, { id: { $in: keyId === null ? [id] : [id, keyId] } }] }),
  };
  const lock = (where: FilterQuery<ApiKey>) =>
    em.find(ApiKey, where, { orderBy: { id: 'asc' }, lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true });
  const locked = await lock(filter);
  // A key may have created another one before it was locked, so the query is repeated until it finds no new keys.
  for (let isNew = all; isNew; ) {
    const newKeys = await lock({ orgId, id: { $nin: locked.map((key) => key.id) } });
    locked.push(...newKeys);
    isNew = newKeys.length > 0;
  }
  return locked;
}

/**
 * Returns the keys that a key created, that those created, and so on. Keys whose creator has no row count as descendants:
 * the server never deletes keys, so the row was deleted outside of it, and it may have been the link to this key.
 */
function descendants(apiKey: ApiKey, keys: readonly ApiKey[]): ApiKey[] {
  const creators = new Set(keys.map(({ id }) => `key:${id}`));
  const isOrphan = ({ createdBy }: ApiKey) => createdBy?.startsWith('key:') && !creators.has(createdBy);
  const found = new Set([apiKey, ...keys.filter(isOrphan)]);
  // The iteration over a Set includes elements that are added during it.
  for (const { id } of found) {
    for (const key of keys) if (key.createdBy === `key:${id}`) found.add(key);
  }
  found.delete(apiKey);
  return [...found];
}

function isNonExpiringAdministrator(key: ApiKey): boolean {
  const isLimited = key.revokedAt || key.expiresAt || key.projectIds || key.connectionIds;
  return !isLimited && administratorScopes.every((scope) => key.scopes.includes(scope));
}

function apiKeyNotFound(): AppError {
  return new AppError('NOT_FOUND', 'There is no such API key.', {
    remedy: 'Check the id. `apiKeys` lists the keys.',
  });
}

function lastAdministratorError(): AppError {
  return new AppError(
    'LAST_ADMINISTRATOR',
    'This is the last API key that can administer the whole organisation and does not expire.',
    {
      remedy:
        'Create another key with all scopes, no projects, no connections and no expiry, then revoke this one.',
    },
  );
}
