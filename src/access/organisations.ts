import { randomUUID } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import type { Secret } from '../secrets/secret.ts';
import type { Vault } from '../secrets/vault.ts';
import type { ApiKey } from './api-key.entity.ts';
import { addApiKey } from './api-keys.ts';
import { scopes } from './caller.ts';
import { Organisation, Project } from './organisation.entity.ts';

/** The first organisation and its first project have the ids on which the examples are written. */
export const firstOrganisationId = '6f03caa1-a5de-43ce-b127-95a145d3464c';
export const firstProjectId = '7ffbb072-2575-495a-b5b0-127f88caef78';

/** Whom strangers belong to: its trail tells of credentials that are nobody's. It has no API keys and no projects. */
export const nobodyId = '00000000-0000-0000-0000-000000000000';

/** What an organisation is to be like. */
export interface NewOrganisation {
  id?: string;
  name: string;
  projectId?: string;
  projectName: string;
  administratorKey: Secret;
}

/** Adds an organisation with its data keys, a first project and an administrator's API key; the caller flushes. */
export async function addOrganisation(
  em: EntityManager,
  vault: Vault,
  options: NewOrganisation,
): Promise<{ orgId: string; projectId: string; apiKey: ApiKey }> {
  const orgId = options.id ?? randomUUID();
  const projectId = options.projectId ?? randomUUID();
  const createdAt = new Date();
  em.create(Organisation, { id: orgId, name: options.name, createdAt });
  em.create(Project, { id: projectId, orgId, name: options.projectName, createdAt });
  await vault.addDataKeys(em, orgId);
  const apiKey = addApiKey(em, { orgId, name: 'Administrator', key: options.administratorKey, scopes });
  return { orgId, projectId, apiKey };
}

/** The first organisation, on whose ids the examples are written. */
export function firstOrganisation(administratorKey: Secret): NewOrganisation {
  return {
    id: firstOrganisationId,
    name: 'First organisation',
    projectId: firstProjectId,
    projectName: 'First project',
    administratorKey,
  };
}

/** Whether any organisation exists. */
export async function hasOrganisation(em: EntityManager): Promise<boolean> {
  return (await em.count(Organisation, { id: { $ne: nobodyId } })) > 0;
}

/** Adds the organisation of strangers, if it is not there; the caller flushes. */
export async function addNobody(em: EntityManager, vault: Vault): Promise<void> {
  if ((await em.count(Organisation, { id: nobodyId })) > 0) return;
  em.create(Organisation, { id: nobodyId, name: 'Nobody', createdAt: new Date() });
  await vault.addDataKeys(em, nobodyId);
}
