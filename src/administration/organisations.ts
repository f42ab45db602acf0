import { randomUUID } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { AuditHead } from '../audit/audit-event.entity.ts';
import { type AuditDeps, appendEvent } from '../audit/hash-chain.ts';
import { addApiKey, generateApiKey } from '../auth/api-keys.ts';
import { currentTime } from '../common/clock.ts';
import { commandLine } from '../common/command-name.ts';
import { AppError } from '../common/errors.ts';
import type { Vault } from '../encryption/vault.ts';
import type { ApiKey } from '../identity/api-key.entity.ts';
import { type Scope, scopes } from '../identity/caller.ts';
import { Organisation, Project } from '../identity/organisation.entity.ts';
import { OrganisationDeletion } from '../identity/organisation-deletion.entity.ts';
import { type NewOrganisation, unattributedOrgId } from '../identity/organisations.ts';
import type { CreatedApiKey } from './api-keys.ts';

/** Adds an organisation with its data keys, a first project and an administrator's API key. The caller flushes. */
export async function addOrganisation(
  em: EntityManager,
  vault: Vault,
  options: NewOrganisation,
): Promise<{ orgId: string; projectId: string; apiKey: ApiKey }> {
  const orgId = options.id ?? randomUUID();
  const projectId = options.projectId ?? randomUUID();
  const createdAt = currentTime();
  em.create(Organisation, { id: orgId, name: options.name, createdAt });
  em.create(Project, { id: projectId, orgId, name: options.projectName, createdAt });
  em.create(AuditHead, { orgId, seq: 0, hash: '' });
  await vault.addDataKeys(em, orgId);
  const apiKey = addApiKey(em, { orgId, name: 'Administrator', key: options.administratorKey, scopes });
  return { orgId, projectId, apiKey };
}

/** The actor of audit events of commands, which use neither an API key nor a token. */
export const operatorActor = { keyId: null, subject: null };

/** Creates an organisation with its first project and its first API key, in the transaction of `em`. */
export async function createOrganisation(
  em: EntityManager,
  deps: AuditDeps,
  organisation: NewOrganisation,
): Promise<{ orgId: string; projectId: string; apiKey: ApiKey }> {
  const created = await addOrganisation(em, deps.vault, organisation);
  await em.flush();
  const { orgId, projectId, apiKey } = created;
  await appendEvent(em, deps, {
    ...operatorActor,
    orgId,
    action: 'CREATE_ORGANISATION',
    outcome: 'OK',
    projectId,
    apiKeyId: apiKey.id,
    targetName: organisation.name,
    fields: ['name', ...scopes.map((scope) => `scopes.${scope}`)],
  });
  return created;
}

/**
 * Refuses the name of a deleted organisation, because other systems could mistake the new organisation for it.
 *
 * @throws AppError `NAME_TAKEN` if an organisation with this name was deleted
 */
export async function assertNameNotDeleted(em: EntityManager, name: string): Promise<void> {
  const [deletion] = await em.find(
    OrganisationDeletion,
    { name, startedAt: { $ne: null } },
    { orderBy: { startedAt: 'desc' }, limit: 1 },
  );
  if (!deletion) return;
  const { id, startedAt } = deletion;
  throw new AppError(
    'NAME_TAKEN',
    `An organisation with this name was deleted at ${startedAt?.toISOString()}; its id was ${id}.`,
    { remedy: 'Use another name, or add --reuse-name.' },
  );
}

/**
 * Creates an API key for an organisation on behalf of the operator: its first one, or one to recover access.
 *
 * @throws AppError `NOT_FOUND` if the organisation does not exist
 */
export async function grantApiKey(
  em: EntityManager,
  deps: AuditDeps,
  grant: { orgId: string; name: string; scopes: readonly Scope[] },
): Promise<CreatedApiKey> {
  const exists = grant.orgId !== unattributedOrgId && (await em.count(Organisation, { id: grant.orgId })) > 0;
  if (!exists) {
    throw new AppError('NOT_FOUND', 'There is no such organisation.', {
      remedy: `Run "${commandLine('admin', 'organisations')}" to list the organisations.`,
    });
  }
  const key = generateApiKey();
  const apiKey = addApiKey(em, { ...grant, key });
  await em.flush();
  await appendEvent(em, deps, {
    ...operatorActor,
    orgId: grant.orgId,
    action: 'CREATE_API_KEY',
    outcome: 'OK',
    apiKeyId: apiKey.id,
    targetName: grant.name,
    fields: ['name', ...grant.scopes.map((scope) => `scopes.${scope}`)],
  });
  return { apiKey, key };
}

/** Adds the organisation for unattributed audit events if it does not exist. The caller flushes. */
export async function ensureUnattributedOrg(em: EntityManager, vault: Vault): Promise<void> {
  if ((await em.count(Organisation, { id: unattributedOrgId })) > 0) return;
  em.create(Organisation, { id: unattributedOrgId, name: 'Nobody', createdAt: currentTime() });
  em.create(AuditHead, { orgId: unattributedOrgId, seq: 0, hash: '' });
  await vault.addDataKeys(em, unattributedOrgId);
}
