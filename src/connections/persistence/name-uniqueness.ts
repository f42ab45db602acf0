import { UniqueConstraintViolationException } from '@mikro-orm/postgresql';
import { LRUCache } from 'lru-cache';
import { AppError } from '../../common/errors.ts';
import { createBatchLoader } from '../../database/batch-loader.ts';
import type { RowReader } from '../../database/row-reader.ts';
import { joinAnd, sql } from '../../database/sql.ts';
import { AppConnection, nameIndexes } from '../app-connection.entity.ts';
import { inProject } from './list-conditions.ts';
import type { ProjectScope } from './project.ts';

/**
 * Checks that a name is unique in its project, or among the connections without a project. It runs before the app is called,
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
  if (await nameLoader(database, scope)(name)) throw nameTakenError(scope);
}

const nameLoaders = new WeakMap<RowReader, LRUCache<string, (name: string) => Promise<boolean>>>();
const maxScopes = 1_000;
const nameOnly = ['name'] as const;

/** Whether names are taken in one scope. Names that are requested in the same event-loop turn share a statement. */
function nameLoader(database: RowReader, { orgId, projectId = null }: ProjectScope) {
  const loaders = nameLoaders.get(database) ?? new LRUCache({ max: maxScopes });
  nameLoaders.set(database, loaders);
  const scope = `${orgId} ${projectId}`;
  const cached = loaders.get(scope);
  if (cached) return cached;
  const isTaken = createBatchLoader(async (names) => {
    const conditions = joinAnd([
      sql`org_id = ${orgId}`,
      sql`name = any(${names})`,
      sql`deleted_at is null`,
      inProject(projectId),
    ]);
    const found = await database.select(AppConnection, orgId, sql`where ${conditions}`, {
      properties: nameOnly,
    });
    const taken = new Set(found.map(({ name }) => name));
    return names.map((name) => taken.has(name));
  });
  loaders.set(scope, isTaken);
  return isTaken;
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

function isNameConflict(error: unknown): boolean {
  return (
    error instanceof UniqueConstraintViolationException &&
    nameIndexes.some((index) => index === (error as { constraint?: unknown }).constraint)
  );
}
