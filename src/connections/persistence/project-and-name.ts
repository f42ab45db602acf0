import { UniqueConstraintViolationException } from '@mikro-orm/core';
import { LRUCache } from 'lru-cache';
import { errorField } from '../../common/error-field.ts';
import { AppError } from '../../common/errors.ts';
import { createBatchLoader } from '../../database/batch-loader.ts';
import type { RowReader } from '../../database/row-reader.ts';
import { joinAnd, sql } from '../../database/sql.ts';
import { Project } from '../../identity/organisation.entity.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { nameIndexes } from '../app-connection-indexes.ts';
import type { ConnectionDeps } from '../deps.ts';
import { inProject } from './list-conditions.ts';

/** The project of a connection. Without one, the connection belongs to the organisation itself. */
export interface ProjectScope {
  orgId: string;
  projectId?: string | null | undefined;
}

/**
 * Checks that a name is free in its project, or among the connections without a project. It runs before the app is called,
 * which saves a call whose result could not be stored. The unique indexes of the database guarantee uniqueness; see
 * `mapNameConflict`.
 *
 * @throws AppError `NAME_TAKEN`
 */
export async function assertNameAvailable(
  database: RowReader,
  scope: ProjectScope,
  name: string,
): Promise<void> {
  const { isTaken } = await scopeLoader(database, scope)(name);
  if (isTaken) throw nameTakenError(scope);
}

/**
 * Checks, with one statement, that the organisation has the project and that a name is free in it. Without a project, only the
 * name is checked.
 *
 * @throws AppError `NOT_FOUND`, `NAME_TAKEN`
 * @throws MacMismatch if the row of the project was changed outside this server
 */
export async function assertProjectAndName(
  { database, vault }: Pick<ConnectionDeps, 'database' | 'vault'>,
  scope: ProjectScope,
  name: string,
): Promise<void> {
  const { project, isTaken } = await scopeLoader(database, scope)(name);
  if (scope.projectId != null) {
    if (!project) throw projectNotFoundError();
    const em = database.forOrganisation(scope.orgId);
    (await vault.rowMacs(em)).verify(em, Project, project);
  }
  if (isTaken) throw nameTakenError(scope);
}

/** The project of a scope, if it has one, and whether a name is taken in the scope. */
interface NameInScope {
  project: Project | undefined;
  isTaken: boolean;
}

const loaders = new WeakMap<RowReader, LRUCache<string, (name: string) => Promise<NameInScope>>>();
const maxScopes = 1_000;
const nameOnly = ['name'] as const;

/** Looks names up in one scope. Names that are requested in the same event-loop turn share a statement. */
function scopeLoader(database: RowReader, { orgId, projectId = null }: ProjectScope) {
  const ofDatabase = loaders.get(database) ?? new LRUCache({ max: maxScopes });
  loaders.set(database, ofDatabase);
  const key = `${orgId} ${projectId}`;
  const cached = ofDatabase.get(key);
  if (cached) return cached;
  const load = createBatchLoader(async (names) => {
    const isNamed = joinAnd([
      sql`org_id = ${orgId}`,
      sql`name = any(${names})`,
      sql`deleted_at is null`,
      inProject(projectId),
    ]);
    if (projectId === null) {
      const found = await database.select(AppConnection, orgId, sql`where ${isNamed}`, {
        properties: nameOnly,
      });
      const taken = new Set(found.map(({ name }) => name));
      return names.map((name) => ({ project: undefined, isTaken: taken.has(name) }));
    }
    const [project] = await database.select<Project, { taken: string[] }>(
      Project,
      orgId,
      sql`where org_id = ${orgId} and id = ${projectId}`,
      { extra: sql`array(select name from app_connection where ${isNamed}) as taken` },
    );
    return names.map((name) => ({ project, isTaken: project?.taken.includes(name) ?? false }));
  });
  ofDatabase.set(key, load);
  return load;
}

/**
 * Runs a change of a name.
 *
 * @throws AppError `NAME_TAKEN` if the change violates a unique index of names
 */
export async function mapNameConflict<T>(scope: ProjectScope, change: () => Promise<T>): Promise<T> {
  try {
    return await change();
  } catch (error) {
    throw isNameConflict(error) ? nameTakenError(scope) : error;
  }
}

function nameTakenError({ projectId }: ProjectScope): AppError {
  const scope = projectId == null ? 'without a project' : 'in this project';
  const message = `Another connection ${scope} has this name.`;
  return new AppError('NAME_TAKEN', message, {
    issues: [{ path: ['name'], message }],
    remedy: 'Choose another name.',
  });
}

function projectNotFoundError(): AppError {
  const message = 'There is no such project.';
  return new AppError('NOT_FOUND', message, {
    issues: [{ path: ['projectId'], message }],
    remedy: 'Check the project id, or leave it out for a connection of the organisation itself.',
  });
}

function isNameConflict(error: unknown): boolean {
  return (
    error instanceof UniqueConstraintViolationException &&
    nameIndexes.some(({ name }) => name === errorField(error, 'constraint'))
  );
}
