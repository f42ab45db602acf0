import { type EntityManager, type FilterQuery, LockMode, raw } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ApiKey } from '../access/api-key.entity.ts';
import { addApiKey, assertGood, generateApiKey } from '../access/api-keys.ts';
import { type Caller, scopes } from '../access/caller.ts';
import { Project } from '../access/organisation.entity.ts';
import { auditForbidden, auditRefusals } from '../audit/audited.ts';
import { appendEvent } from '../audit/chain.ts';
import { moment } from '../connections/input.ts';
import { type Issue, Problem } from '../errors.ts';
import type { Secret } from '../secrets/secret.ts';
import type { CreateApiKey } from './input.ts';
import { cursorRule, decodeCursor, type Order, type Page, type PageOptions, pageOf } from './page.ts';
import type { AdministrationParts } from './parts.ts';

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
 * @throws Problem `FORBIDDEN`, `NOT_FOUND` (a project), `UNAUTHENTICATED` (the caller's key was revoked meanwhile)
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
    const { orgId } = caller;
    return parts.database.fork(orgId).transactional(async (em) => {
      await assertStillGood(em, caller);
      await assertProjects(em, orgId, input.projectIds ?? []);
      const key = generateApiKey();
      const apiKey = addApiKey(em, { ...input, orgId, key });
      await em.flush();
      await appendEvent(em, parts, {
        ...{ ...caller.actor, ...attempt, apiKeyId: apiKey.id, outcome: 'OK' },
        fields: fieldsOf(apiKey),
      });
      return { apiKey, key };
    });
  });
}

/**
 * Revokes an API key, on every server within five seconds. To revoke it again changes nothing.
 *
 * @throws Problem `FORBIDDEN`, `NOT_FOUND`, `LAST_ADMINISTRATOR`, `UNAUTHENTICATED` (the caller's key was revoked
 *   meanwhile)
 */
export async function revokeApiKey(parts: AdministrationParts, caller: Caller, id: string): Promise<ApiKey> {
  const attempt = { action: 'REVOKE_API_KEY', apiKeyId: id } as const;
  const revoked = await auditRefusals(parts, caller, attempt, async () => {
    caller.assertMay('access:admin');
    return parts.database.fork(caller.orgId).transactional(async (em) => {
      const administrators = await lockAdministrators(em, caller, id);
      await assertStillGood(em, caller);
      const apiKey = await em.findOne(ApiKey, { $and: [{ id }, visibleTo(caller)] });
      if (!apiKey) throw noSuchKey();
      if (apiKey.revokedAt) return apiKey;
      if (administrators.length === 1 && administrators[0] === apiKey) throw lastAdministrator();
      apiKey.revokedAt = new Date();
      await em.flush();
      await appendEvent(em, parts, {
        ...{ ...caller.actor, ...attempt, targetName: apiKey.name, outcome: 'OK' },
        fields: ['revokedAt'],
      });
      return apiKey;
    });
  });
  parts.authenticator.forget();
  return revoked;
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
          visibleTo(caller),
          includeRevoked ? {} : { revokedAt: null },
          after == null ? {} : beyond(after),
        ],
      },
      { orderBy: { createdAt: 'desc', id: 'desc' }, limit: first + 1 },
    );
    return pageOf(newestFirst, found, first);
  });
}

function visibleTo({ orgId, projectIds }: Caller): FilterQuery<ApiKey> {
  return { orgId, ...(projectIds && { projectIds: { $contained: [...projectIds] } }) };
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
async function assertStillGood(em: EntityManager, { orgId, keyId }: Caller): Promise<void> {
  if (keyId === null) return;
  assertGood(await em.findOneOrFail(ApiKey, { id: keyId, orgId }, { lockMode: LockMode.PESSIMISTIC_READ }));
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
 * The keys that can do everything, everywhere and for ever. Until the transaction ends, nobody else revokes one of them,
 * nor the caller's own, nor the one with this id: all are locked at once and in one order, so that those who revoke each
 * other wait in line.
 */
async function lockAdministrators(
  em: EntityManager,
  { orgId, keyId }: Caller,
  id: string,
): Promise<ApiKey[]> {
  const lasting = { revokedAt: null, expiresAt: null, projectIds: null, scopes: { $contains: [...scopes] } };
  await em.find(
    ApiKey,
    { orgId, $or: [lasting, { id: { $in: keyId === null ? [id] : [id, keyId] } }] },
    { orderBy: { id: 'asc' }, lockMode: LockMode.PESSIMISTIC_WRITE },
  );
  return em.find(ApiKey, { orgId, ...lasting });
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
