import type { EntityManager } from '@mikro-orm/postgresql';
import type { Secret } from '../common/secret.ts';
import { Organisation } from './organisation.entity.ts';
import { OrganisationDeletion } from './organisation-deletion.entity.ts';

/** The ids of the first organisation and its project. They are fixed so that the examples in the documentation work. */
export const firstOrganisationId = '6f03caa1-a5de-43ce-b127-95a145d3464c';
export const firstProjectId = '7ffbb072-2575-495a-b5b0-127f88caef78';

/**
 * The reserved organisation for audit events that cannot be attributed, such as those of unknown API keys. It has no API keys
 * and no projects.
 */
export const unattributedOrgId = '00000000-0000-0000-0000-000000000000';

/** The input of `createOrganisation`. */
export interface NewOrganisation {
  id?: string;
  name: string;
  projectId?: string;
  projectName: string;
  administratorKey: Secret;
}

/** Returns the input for the first organisation, with fixed ids. */
export function firstOrganisation(administratorKey: Secret): NewOrganisation {
  return {
    id: firstOrganisationId,
    name: 'First organisation',
    projectId: firstProjectId,
    projectName: 'First project',
    administratorKey,
  };
}

/**
 * Whether the database has or had an organisation. Otherwise a restart with the same settings would create a deleted first organisation
 * again, with the same id and the same key.
 */
export async function hadOrganisation(em: EntityManager): Promise<boolean> {
  if ((await em.count(Organisation, { id: { $ne: unattributedOrgId } })) > 0) return true;
  return (await em.count(OrganisationDeletion, { startedAt: { $ne: null } })) > 0;
}
