import { type EntityManager, UniqueConstraintViolationException } from '@mikro-orm/postgresql';
import { Project } from '../access/organisation.entity.ts';
import { Problem } from '../errors.ts';
import { nameIndexes } from './app-connection.entity.ts';

/** Where a name must be unique: a project, or the organisation's connections without a project. */
export interface Place {
  orgId: string;
  projectId?: string | null | undefined;
}

/** @throws Problem `NOT_FOUND` when the organisation has no such project */
export async function assertProject(em: EntityManager, { orgId, projectId }: Place): Promise<void> {
  if (projectId == null || (await em.count(Project, { id: projectId, orgId })) > 0) return;
  const message = 'There is no such project.';
  throw new Problem('NOT_FOUND', message, {
    issues: [{ path: ['input', 'projectId'], message }],
    remedy: 'Check the project id, or leave it out for a connection of the organisation itself.',
  });
}

/**
 * Spares Okta a question whose answer could not be kept. What really keeps names apart are the unique indexes.
 *
 * @throws Problem `NAME_TAKEN`
 */
export async function assertNameFree(
  em: EntityManager,
  place: Place,
  name: string,
  path: readonly string[],
): Promise<void> {
  const { orgId, projectId = null } = place;
  const { isTaken } = await em.execute<{ isTaken: boolean }>(
    `select exists (select from app_connection where org_id = ? and name = ? and deleted_at is null
      and project_id ${projectId === null ? 'is null' : '= ?'}) as "isTaken"`,
    projectId === null ? [orgId, name] : [orgId, name, projectId],
    'get',
  );
  if (isTaken) throw nameTaken(place, path);
}

/** Runs a change that may give a name a second time, which is `NAME_TAKEN`. */
export async function keepingNamesApart<T>(
  place: Place,
  path: readonly string[],
  change: () => Promise<T>,
): Promise<T> {
  try {
    return await change();
  } catch (error) {
    throw isNameClash(error) ? nameTaken(place, path) : error;
  }
}

function nameTaken({ projectId }: Place, path: readonly string[]): Problem {
  const where = projectId == null ? 'without a project' : 'in this project';
  const message = `Another connection ${where} has this name.`;
  return new Problem('NAME_TAKEN', message, { issues: [{ path, message }], remedy: 'Choose another name.' });
}

function isNameClash(error: unknown): boolean {
  return (
    error instanceof UniqueConstraintViolationException &&
    nameIndexes.some((index) => index === (error as { constraint?: unknown }).constraint)
  );
}
