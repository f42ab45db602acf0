import { type FilterQuery, LockMode, raw } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { appendEvent } from '../audit/hash-chain.ts';
import { withForbiddenAudit, withRefusalAudit } from '../audit/record-refusals.ts';
import { addApiKey, assertActive, generateApiKey } from '../auth/api-keys.ts';
import { isoDateTime } from '../common/date-time.ts';
import { AppError, type Issue } from '../common/errors.ts';
import {
  createListOrder,
  cursorSchema,
  decodeCursor,
  type Page,
  type PageOptions,
  toPage,
} from '../common/pagination.ts';
import type { Secret } from '../common/secret.ts';
import { AppConnection } from '../connections/app-connection.entity.ts';
import type { RowMacs } from '../encryption/row-macs.ts';
import { ApiKey } from '../identity/api-key.entity.ts';
import type { Caller } from '../identity/caller.ts';
import { Project } from '../identity/organisation.entity.ts';
import { apiKeyVisibilityFilter, hideCreators } from '../identity/visible-api-keys.ts';
import type { AdministrationDeps } from './deps.ts';
import type { CreateApiKey } from './input-schemas.ts';
import { projectVisibilityFilter } from './projects.ts';

const newestFirst = createListOrder('apiKeys', ({ createdAt }: ApiKey) => createdAt, isoDateTime);

/** The schema of a cursor of the list. */
export const apiKeyCursor = cursorSchema(newestFirst);

/** A new API key. `key` is the only copy of the key itself. */
export interface CreatedApiKey {
  apiKey: ApiKey;
  key: Secret;
}

/**
 * Creates an API key. It cannot have a scope, a project, a connection or a lifetime that the caller's own credential does not
 * have.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND` (a project or a connection), `UNAUTHENTICATED` (the caller's key was revoked in the
 *   meantime), `RATE_LIMITED`
 */
export async function createApiKey(
  deps: AdministrationDeps,
  caller: Caller,
  input: CreateApiKey,
): Promise<CreatedApiKey> {
  const attempt = { action: 'CREATE_API_KEY', targetName: input.name } as const;
  return withRefusalAudit(deps, caller, attempt, async () => {
    caller.requireScope('access:admin');
    assertCanGrant(caller, input);
    await deps.limits.checkChange(caller);
    const { orgId } = caller;
    return deps.database.forOrganisation(orgId).transactional(async (em) => {
      await assertGrantorActive(em, await deps.vault.rowMacs(em), caller);
      await assertProjects(em, caller, input.projectIds ?? []);
      await assertConnections(em, caller, input);
      const key = generateApiKey();
      const apiKey = addApiKey(em, { ...input, orgId, key, createdBy: caller.id });
      await em.flush();
      await appendEvent(em, deps, {
        ...caller.actor,
        ...attempt,
        apiKeyId: apiKey.id,
        outcome: 'OK',
        fields: auditedFields(apiKey),
      });
      return { apiKey, key };
    });
  });
}

/**
 * Lists the API keys of the organisation, newest first. A caller that is limited to projects or connections sees the keys
 * that are limited to them.
 *
 * @throws AppError `FORBIDDEN`, `BAD_USER_INPUT` (the cursor)
 */
export async function listApiKeys(
  deps: AdministrationDeps,
  caller: Caller,
  { first, after, includeRevoked }: PageOptions & { includeRevoked: boolean },
): Promise<Page<ApiKey>> {
  return withForbiddenAudit(deps, caller, { action: 'READ_API_KEYS' }, async () => {
    caller.requireScope('access:admin');
    const apiKeys = await deps.database.forOrganisation(caller.orgId).find(
      ApiKey,
      {
        $and: [
          apiKeyVisibilityFilter(caller),
          includeRevoked ? {} : { revokedAt: null },
          after == null ? {} : afterCursor(after),
        ],
      },
      { orderBy: { createdAt: 'desc', id: 'desc' }, limit: first + 1 },
    );
    await hideCreators(deps, caller, apiKeys);
    return toPage(newestFirst, apiKeys, first);
  });
}

function afterCursor(cursor: string): FilterQuery<ApiKey> {
  const { key, id } = decodeCursor(newestFirst, cursor);
  return { [raw('("created_at", "id") < (?, ?)', [key, id])]: [] };
}

/** @throws AppError `FORBIDDEN` if the key would have a permission that the caller does not have */
function assertCanGrant(caller: Caller, input: CreateApiKey): void {
  const { scopes: granted, projectIds, connectionIds, expiresAt } = input;
  const issues: Issue[] = granted.flatMap((scope, index) =>
    caller.scopes.has(scope)
      ? []
      : [{ path: ['scopes', index], message: `Your own credential lacks the scope ${scope}.` }],
  );
  issues.push(
    ...limitIssues('projectIds', 'projects', caller.projectIds, projectIds),
    ...limitIssues('connectionIds', 'connections', caller.connectionIds, connectionIds),
  );
  // The expiry of an access token is that of the session, not of the permissions of its subject.
  const latestExpiry = caller.keyId === null ? null : caller.expiresAt;
  if (latestExpiry && (!expiresAt || expiresAt > latestExpiry)) {
    const message = `Your own API key expires at ${latestExpiry.toISOString()}. The new key must not expire later.`;
    issues.push({ path: ['expiresAt'], message });
  }
  if (issues.length === 0) return;
  const messages = new Set(issues.map(({ message }) => message));
  throw new AppError('FORBIDDEN', [...messages].join(' '), {
    issues,
    remedy: 'Grant only permissions that you have, or ask an administrator who has more.',
  });
}

/** Returns the issues of a limit of the new key that is wider than that of the caller. */
function limitIssues(
  field: 'projectIds' | 'connectionIds',
  kind: string,
  own: ReadonlySet<string> | null,
  granted: readonly string[] | null | undefined,
): Issue[] {
  if (!own) return [];
  if (!granted) {
    const message = `Your own credential is limited to ${kind}. Name ${kind} from these.`;
    return [{ path: [field], message }];
  }
  const message = `Your own credential is limited to other ${kind}.`;
  return granted.flatMap((id, index) => (own.has(id) ? [] : [{ path: [field, index], message }]));
}

/**
 * Checks that the caller's key is still active, and locks its row. The authentication cache can hold a revoked key for up
 * to 1.5 seconds, in which it must not create or revoke keys.
 */
export async function assertGrantorActive(
  em: EntityManager,
  macs: RowMacs,
  { orgId, keyId }: Caller,
): Promise<void> {
  if (keyId === null) return;
  const lockMode = LockMode.PESSIMISTIC_READ;
  const apiKey = await em.findOneOrFail(ApiKey, { id: keyId, orgId }, { lockMode });
  macs.verify(em, ApiKey, apiKey);
  assertActive(apiKey);
}

async function assertProjects(em: EntityManager, caller: Caller, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const projects = await em.find(
    Project,
    { $and: [projectVisibilityFilter(caller), { id: { $in: [...ids] } }] },
    { fields: ['id'] },
  );
  assertFound('projectIds', ids, projects, {
    message: 'There is no such project.',
    remedy: 'Check the project ids.',
  });
}

/** A connection must be visible to the caller and, if the new key is limited to projects, to the key. */
async function assertConnections(
  em: EntityManager,
  caller: Caller,
  { projectIds, connectionIds }: CreateApiKey,
): Promise<void> {
  if (!connectionIds) return;
  const isVisible = { orgId: caller.orgId, deletedAt: null, ...caller.connectionFilter };
  const isNamed = {
    id: { $in: [...connectionIds] },
    ...(projectIds && { projectId: { $in: [...projectIds] } }),
  };
  const where = { $and: [isVisible, isNamed] };
  const connections = await em.find(AppConnection, where, { fields: ['id'] });
  assertFound('connectionIds', connectionIds, connections, {
    message: `There is no such connection${projectIds ? ' in the projects of the key' : ''}.`,
    remedy: 'Check the connection ids.',
  });
}

/** @throws AppError `NOT_FOUND`, with an issue for each id that was not found */
function assertFound(
  field: string,
  ids: readonly string[],
  found: readonly { id: string }[],
  { message, remedy }: { message: string; remedy: string },
): void {
  const existing = new Set(found.map(({ id }) => id));
  const issues = ids.flatMap((id, index) => (existing.has(id) ? [] : [{ path: [field, index], message }]));
  if (issues.length > 0) throw new AppError('NOT_FOUND', message, { issues, remedy });
}

/** Returns the names of the set fields for the audit event, with the scopes. */
function auditedFields({ scopes: granted, projectIds, connectionIds, expiresAt }: ApiKey): string[] {
  return [
    'name',
    ...granted.map((scope) => `scopes.${scope}`),
    ...(projectIds ? ['projectIds'] : []),
    ...(connectionIds ? ['connectionIds'] : []),
    ...(expiresAt ? ['expiresAt'] : []),
  ];
}
