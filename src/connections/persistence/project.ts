import { AppError } from '../../common/errors.ts';
import { sql } from '../../database/sql.ts';
import { Project } from '../../identity/organisation.entity.ts';
import type { ConnectionDeps } from '../deps.ts';

/** The project of a connection. Without one, the connection belongs to the organisation itself. */
export interface ProjectScope {
  orgId: string;
  projectId?: string | null | undefined;
}

/**
 * Checks that the organisation has the project; without a project there is nothing to check.
 *
 * @throws AppError `NOT_FOUND`
 * @throws MacMismatch if the row of the project was changed outside this server
 */
export async function assertProject(
  { database, vault }: ConnectionDeps,
  { orgId, projectId }: ProjectScope,
): Promise<void> {
  if (projectId == null) return;
  const where = sql`where org_id = ${orgId} and id = ${projectId}`;
  const [project] = await database.select(Project, orgId, where);
  if (!project) {
    const message = 'There is no such project.';
    throw new AppError('NOT_FOUND', message, {
      issues: [{ path: ['projectId'], message }],
      remedy: 'Check the project id, or leave it out for a connection of the organisation itself.',
    });
  }
  const em = database.forOrganisation(orgId);
  (await vault.rowMacs(em)).verify(em, Project, project);
}
