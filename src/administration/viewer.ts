import { ApiKey } from '../identity/api-key.entity.ts';
import type { Caller } from '../identity/caller.ts';
import { Organisation, Project } from '../identity/organisation.entity.ts';
import { hideCreators } from '../identity/visible-api-keys.ts';
import type { AdministrationDeps } from './deps.ts';
import { projectVisibilityFilter } from './projects.ts';

/** The caller with its organisation and projects. */
export interface Viewer {
  caller: Caller;
  organisation: Organisation;
  /** Null for an access token. */
  apiKey: ApiKey | null;
  /** Null if the caller is not limited to projects. */
  projects: Project[] | null;
}

/** Returns the caller. It needs no scope. */
export async function getViewer({ database }: AdministrationDeps, caller: Caller): Promise<Viewer> {
  const { orgId, keyId, projectIds } = caller;
  const em = database.forOrganisation(orgId);
  const organisation = await em.findOneOrFail(Organisation, { id: orgId });
  const apiKey = keyId === null ? null : await em.findOneOrFail(ApiKey, { id: keyId, orgId });
  const projects =
    projectIds && (await em.find(Project, projectVisibilityFilter(caller), { orderBy: { name: 'asc' } }));
  if (apiKey) await hideCreators({ database }, caller, [apiKey]);
  return { caller, organisation, apiKey, projects };
}
