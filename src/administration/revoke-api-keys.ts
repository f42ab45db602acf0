import { type EntityManager, type FilterQuery, LockMode } from '@mikro-orm/postgresql';
import { appendEvents, withRequestContext } from '../audit/hash-chain.ts';
import { withRefusalAudit } from '../audit/record-refusals.ts';
import { AppError } from '../common/errors.ts';
import { ApiKey } from '../identity/api-key.entity.ts';
import { type Caller, scopes } from '../identity/caller.ts';
import { assertGrantorActive } from './api-keys.ts';
import type { AdministrationDeps } from './deps.ts';
import { apiKeyVisibilityFilter, hideCreators } from './visible-api-keys.ts';

/** What a revocation has changed. */
export interface RevokedApiKeys {
  /** The key that was named, as it is now. */
  apiKey: ApiKey;
  /** The keys that were revoked just now; none of those that were revoked before. */
  revoked: ApiKey[];
}

/**
 * Revokes an API key, on every server within five seconds. To revoke it again changes nothing.
 *
 * @param andWhatItMade whether to revoke in the same transaction every key that it has made, and that those have made, and
 *   so on: a thief may have made them
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `LAST_ADMINISTRATOR` (nothing is revoked then), `UNAUTHENTICATED` (the caller's
 *   key was revoked meanwhile), `RATE_LIMITED`
 * @throws MacMismatch when, with `andWhatItMade`, the row of any key was changed in the database; nothing is revoked then
 */
export async function revokeApiKey(
  deps: AdministrationDeps,
  caller: Caller,
  id: string,
  andWhatItMade = false,
): Promise<RevokedApiKeys> {
  const attempt = { action: 'REVOKE_API_KEY', apiKeyId: id } as const;
  const result = await withRefusalAudit(deps, caller, attempt, async () => {
    caller.requireScope('access:admin');
    await deps.limits.checkChange(caller);
    return deps.database.forOrganisation(caller.orgId).transactional(async (em) => {
      const macs = await deps.vault.rowMacs(em);
      const keys = await lockKeys(em, caller, id, andWhatItMade);
      await assertGrantorActive(em, macs, caller);
      const apiKey = await em.findOne(ApiKey, { $and: [{ id }, apiKeyVisibilityFilter(caller)] });
      if (!apiKey) throw apiKeyNotFound();
      const isAuthentic = (key: ApiKey) => macs.isAuthentic(em, ApiKey, key);
      // Who made a key is known only from an authentic row, and a key that is missed here would live on.
      if (andWhatItMade) for (const key of keys) macs.verify(em, ApiKey, key);
      const revoked = [apiKey, ...(andWhatItMade ? descendants(apiKey, keys) : [])].filter(
        ({ revokedAt }) => !revokedAt,
      );
      const administrators = keys.filter((key) => isNonExpiringAdministrator(key) && isAuthentic(key));
      const isOneOfThem = revoked.some((key) => administrators.includes(key));
      if (isOneOfThem && administrators.every((key) => revoked.includes(key))) throw lastAdministratorError();
      const revokedAt = new Date();
      for (const key of revoked) {
        macs.verify(em, ApiKey, key);
        key.revokedAt = revokedAt;
      }
      await em.flush();
      const events = revoked.map(({ id: apiKeyId, name: targetName }) =>
        withRequestContext({
          ...{ ...caller.actor, action: 'REVOKE_API_KEY', apiKeyId, targetName },
          ...{ outcome: 'OK', fields: ['revokedAt'] },
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
 * The organisation's keys that matter for a revocation: those that can do everything, everywhere and for ever, and the one
 * with this id; or all, with what they have made. Until the transaction ends, nobody else revokes one of them, nor the
 * caller's own, and none of them makes another: all are locked at once and in one order, so that those who revoke each
 * other wait in line.
 */
async function lockKeys(
  em: EntityManager,
  { orgId, keyId }: Caller,
  id: string,
  all: boolean,
): Promise<ApiKey[]> {
  const lasting = { revokedAt: null, expiresAt: null, projectIds: null, scopes: { $contains: [...scopes] } };
  const wanted = {
    orgId,
    ...(!all && { $or: [lasting, { id: { $in: keyId === null ? [id] : [id, keyId] } }] }),
  };
  const lock = (where: FilterQuery<ApiKey>) =>
    em.find(ApiKey, where, { orderBy: { id: 'asc' }, lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true });
  const locked = await lock(wanted);
  // A key that was locked last may have made another one meanwhile, and that again another one.
  for (let isNew = all; isNew; ) {
    const more = await lock({ orgId, id: { $nin: locked.map((key) => key.id) } });
    locked.push(...more);
    isNew = more.length > 0;
  }
  return locked;
}

/**
 * The keys that a key has made, and that those have made, and so on. A key whose maker has no row counts too: the server
 * deletes no row of a key, so somebody else has, and it may have been the link to this one.
 */
function descendants(apiKey: ApiKey, keys: readonly ApiKey[]): ApiKey[] {
  const makers = new Set(keys.map(({ id }) => `key:${id}`));
  const isOrphan = ({ createdBy }: ApiKey) => createdBy?.startsWith('key:') && !makers.has(createdBy);
  const made = new Set([apiKey, ...keys.filter(isOrphan)]);
  // Iterating over a Set reaches the elements that are added meanwhile.
  for (const { id } of made) {
    for (const key of keys) if (key.createdBy === `key:${id}`) made.add(key);
  }
  made.delete(apiKey);
  return [...made];
}

function isNonExpiringAdministrator({ revokedAt, expiresAt, projectIds, scopes: granted }: ApiKey): boolean {
  return !revokedAt && !expiresAt && !projectIds && scopes.every((scope) => granted.includes(scope));
}

function apiKeyNotFound(): AppError {
  return new AppError('NOT_FOUND', 'There is no such API key.', {
    remedy: 'Check the id; `apiKeys` lists the keys that there are.',
  });
}

function lastAdministratorError(): AppError {
  return new AppError(
    'LAST_ADMINISTRATOR',
    'This is the last API key that can administer the whole organisation without an end.',
    { remedy: 'Make another one with every scope, no projects and no expiry, and revoke this one with it.' },
  );
}
