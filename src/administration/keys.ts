import { type EntityManager, type FilterQuery, LockMode, raw } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ApiKey } from '../access/api-key.entity.ts';
import { addApiKey, assertGood, generateApiKey } from '../access/api-keys.ts';
import { type Caller, scopes } from '../access/caller.ts';
import { Project } from '../access/organisation.entity.ts';
import { auditForbidden, auditRefusals } from '../audit/audited.ts';
import { appendEvent, appendEvents, tell } from '../audit/chain.ts';
import { moment } from '../connections/input.ts';
import { type Issue, Problem } from '../errors.ts';
import type { RowMacs } from '../secrets/row-macs.ts';
import type { Secret } from '../secrets/secret.ts';
import type { CreateApiKey } from './input.ts';
import { cursorRule, decodeCursor, type Order, type Page, type PageOptions, pageOf } from './page.ts';
import type { AdministrationParts } from './parts.ts';
import { hideCreators, keysVisibleTo } from './visible-keys.ts';

const newestFirst: Order<ApiKey, Date> = {
  list: 'apiKeys',
  placeOf: ({ createdAt }) => createdAt,
  place: z.iso.datetime().pipe(z.coerce.date()).pipe(moment),
};

/** The rule of a cursor of such a list. */
export const apiKeyCursor = cursorRule(newestFirst);

/** A key that was made just now, and what is never to be had again. */
export interface MadeApiKey {
  apiKey: ApiKey;
  key: Secret;
}

/**
 * Makes an API key that may do what the caller may, or less: no scope, no project and no time that the caller's own
 * credential does not have.
 *
 * @throws Problem `FORBIDDEN`, `NOT_FOUND` (a project), `UNAUTHENTICATED` (the caller's key was revoked meanwhile),
 *   `RATE_LIMITED`
 */
export async function createApiKey(
  parts: AdministrationParts,
  caller: Caller,
  input: CreateApiKey,
): Promise<MadeApiKey> {
  const attempt = { action: 'CREATE_API_KEY', targetName: input.name } as const;
  return auditRefusals(parts, caller, attempt, async () => {
    caller.assertMay('access:admin');
    assertHeld(caller, input);
    await parts.limits.ofChange(caller);
    const { orgId } = caller;
    return parts.database.fork(orgId).transactional(async (em) => {
      await assertStillGood(em, await parts.vault.rowMacs(em), caller);
      await assertProjects(em, orgId, input.projectIds ?? []);
      const key = generateApiKey();
      const apiKey = addApiKey(em, { ...input, orgId, key, createdBy: caller.id });
      await em.flush();
      await appendEvent(em, parts, {
        ...{ ...caller.actor, ...attempt, apiKeyId: apiKey.id, outcome: 'OK' },
        fields: fieldsOf(apiKey),
      });
      return { apiKey, key };
    });
  });
}

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
 * @throws Problem `FORBIDDEN`, `NOT_FOUND`, `LAST_ADMINISTRATOR` (nothing is revoked then), `UNAUTHENTICATED` (the caller's
 *   key was revoked meanwhile), `RATE_LIMITED`
 * @throws MacMismatch when, with `andWhatItMade`, the row of any key was changed in the database; nothing is revoked then
 */
export async function revokeApiKey(
  parts: AdministrationParts,
  caller: Caller,
  id: string,
  andWhatItMade = false,
): Promise<RevokedApiKeys> {
  const attempt = { action: 'REVOKE_API_KEY', apiKeyId: id } as const;
  const result = await auditRefusals(parts, caller, attempt, async () => {
    caller.assertMay('access:admin');
    await parts.limits.ofChange(caller);
    return parts.database.fork(caller.orgId).transactional(async (em) => {
      const macs = await parts.vault.rowMacs(em);
      const keys = await lockKeys(em, caller, id, andWhatItMade);
      await assertStillGood(em, macs, caller);
      const apiKey = await em.findOne(ApiKey, { $and: [{ id }, keysVisibleTo(caller)] });
      if (!apiKey) throw noSuchKey();
      const isAuthentic = (key: ApiKey) => macs.isAuthentic(em, ApiKey, key);
      // Who made a key is known only from an authentic row, and a key that is missed here would live on.
      if (andWhatItMade) for (const key of keys) macs.verify(em, ApiKey, key);
      const revoked = [apiKey, ...(andWhatItMade ? madeBy(apiKey, keys) : [])].filter(
        ({ revokedAt }) => !revokedAt,
      );
      const administrators = keys.filter((key) => isLastingAdministrator(key) && isAuthentic(key));
      const isOneOfThem = revoked.some((key) => administrators.includes(key));
      if (isOneOfThem && administrators.every((key) => revoked.includes(key))) throw lastAdministrator();
      const revokedAt = new Date();
      for (const key of revoked) {
        macs.verify(em, ApiKey, key);
        key.revokedAt = revokedAt;
      }
      await em.flush();
      const events = revoked.map(({ id: apiKeyId, name: targetName }) =>
        tell({
          ...{ ...caller.actor, action: 'REVOKE_API_KEY', apiKeyId, targetName },
          ...{ outcome: 'OK', fields: ['revokedAt'] },
        }),
      );
      if (events.length > 0) await appendEvents(em, parts, caller.orgId, events);
      return { apiKey, revoked };
    });
  });
  parts.authenticator.forget();
  await hideCreators(parts, caller, [result.apiKey, ...result.revoked]);
  return result;
}

/**
 * The organisation's API keys, the newest first; for a caller that is limited to projects, those that are limited to
 * these too.
 *
 * @throws Problem `FORBIDDEN`, `BAD_USER_INPUT` (the cursor)
 */
export async function listApiKeys(
  parts: AdministrationParts,
  caller: Caller,
  { first, after, includeRevoked }: PageOptions & { includeRevoked: boolean },
): Promise<Page<ApiKey>> {
  return auditForbidden(parts, caller, { action: 'READ_API_KEYS' }, async () => {
    caller.assertMay('access:admin');
    const found = await parts.database.fork(caller.orgId).find(
      ApiKey,
      {
        $and: [
          keysVisibleTo(caller),
          includeRevoked ? {} : { revokedAt: null },
          after == null ? {} : beyond(after),
        ],
      },
      { orderBy: { createdAt: 'desc', id: 'desc' }, limit: first + 1 },
    );
    await hideCreators(parts, caller, found);
    return pageOf(newestFirst, found, first);
  });
}

function beyond(cursor: string): FilterQuery<ApiKey> {
  const { id, place } = decodeCursor(newestFirst, cursor);
  return { [raw('("created_at", "id") < (?, ?)', [place, id])]: [] };
}

/** Nobody can grant what they do not hold. */
function assertHeld(caller: Caller, { scopes: granted, projectIds, expiresAt }: CreateApiKey): void {
  const issues: Issue[] = granted.flatMap((scope, index) =>
    caller.scopes.has(scope)
      ? []
      : [{ path: ['input', 'scopes', index], message: `You do not hold the scope ${scope} yourself.` }],
  );
  if (caller.projectIds && !projectIds) {
    const message = 'You are limited to projects yourself; name some of these.';
    issues.push({ path: ['input', 'projectIds'], message });
  }
  for (const [index, projectId] of (projectIds ?? []).entries()) {
    if (!caller.projectIds || caller.projectIds.has(projectId)) continue;
    issues.push({ path: ['input', 'projectIds', index], message: 'You may not use this project yourself.' });
  }
  // A token ends with its session, which says nothing of how long its holder may administer.
  const end = caller.keyId === null ? null : caller.expiresAt;
  if (end && (!expiresAt || expiresAt > end)) {
    const message = `Your own API key expires at ${end.toISOString()}; this one may not outlive it.`;
    issues.push({ path: ['input', 'expiresAt'], message });
  }
  if (issues.length === 0) return;
  const messages = new Set(issues.map(({ message }) => message));
  throw new Problem('FORBIDDEN', [...messages].join(' '), {
    issues,
    remedy: 'Grant no more than you hold, or let somebody do it who holds more.',
  });
}

/** Whoever was revoked a moment ago may still be believed, but is to leave no key behind and to take none along. */
async function assertStillGood(em: EntityManager, macs: RowMacs, { orgId, keyId }: Caller): Promise<void> {
  if (keyId === null) return;
  const lockMode = LockMode.PESSIMISTIC_READ;
  const apiKey = await em.findOneOrFail(ApiKey, { id: keyId, orgId }, { lockMode });
  macs.verify(em, ApiKey, apiKey);
  assertGood(apiKey);
}

async function assertProjects(em: EntityManager, orgId: string, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const found = await em.find(Project, { orgId, id: { $in: [...ids] } }, { fields: ['id'] });
  const known = new Set(found.map(({ id }) => id));
  const message = 'There is no such project.';
  const issues = ids.flatMap((id, index) =>
    known.has(id) ? [] : [{ path: ['input', 'projectIds', index], message }],
  );
  if (issues.length > 0)
    throw new Problem('NOT_FOUND', message, { issues, remedy: 'Check the project ids.' });
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
function madeBy(apiKey: ApiKey, keys: readonly ApiKey[]): ApiKey[] {
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

function isLastingAdministrator({ revokedAt, expiresAt, projectIds, scopes: granted }: ApiKey): boolean {
  return !revokedAt && !expiresAt && !projectIds && scopes.every((scope) => granted.includes(scope));
}

/** The names of what was given; of the scopes, which. */
function fieldsOf({ scopes: granted, projectIds, expiresAt }: ApiKey): string[] {
  return [
    'name',
    ...granted.map((scope) => `scopes.${scope}`),
    ...(projectIds ? ['projectIds'] : []),
    ...(expiresAt ? ['expiresAt'] : []),
  ];
}

function noSuchKey(): Problem {
  return new Problem('NOT_FOUND', 'There is no such API key.', {
    remedy: 'Check the id; `apiKeys` lists the keys that there are.',
  });
}

function lastAdministrator(): Problem {
  return new Problem(
    'LAST_ADMINISTRATOR',
    'This is the last API key that can administer the whole organisation without an end.',
    { remedy: 'Make another one with every scope, no projects and no expiry, and revoke this one with it.' },
  );
}
