import type { EntityManager } from '@mikro-orm/postgresql';
import type { Secret } from '../common/secret.ts';
import { Organisation } from './organisation.entity.ts';

/** The first organisation and its first project have the ids on which the examples are written. */
export const firstOrganisationId = '6f03caa1-a5de-43ce-b127-95a145d3464c';
export const firstProjectId = '7ffbb072-2575-495a-b5b0-127f88caef78';

/** Whom strangers belong to: its trail tells of credentials that are nobody's. It has no API keys and no projects. */
export const unattributedOrgId = '00000000-0000-0000-0000-000000000000';

/** What an organisation is to be like. */
export interface NewOrganisation {
  id?: string;
  name: string;
  projectId?: string;
  projectName: string;
  administratorKey: Secret;
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
  return (await em.count(Organisation, { id: { $ne: unattributedOrgId } })) > 0;
}
