import { UniqueConstraintViolationException } from '@mikro-orm/postgresql';
import { LRUCache } from 'lru-cache';
import { AppError } from '../../common/errors.ts';
import { createBatchLoader } from '../../database/group-commit.ts';
import type { RowReader } from '../../database/row-reader.ts';
import { joinAnd, sql } from '../../database/sql.ts';
import { Project } from '../../identity/organisation.entity.ts';
import { AppConnection, nameIndexes } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import { inProject } from './list-conditions.ts';

/** Where a name must be unique: a project, or the organisation's connections without a project. */
export interface ProjectScope {
  orgId: string;
  projectId?: string | null | undefined;
}

/**
 * @throws AppError `NOT_FOUND` when the organisation has no such project
 * @throws MacMismatch when its row is not as this server wrote it
 */
export async function assertProject(
  { database, vault }: ConnectionDeps,
  { orgId, projectId }: ProjectScope,
): Promise<void> {
  if (projectId == null) return;
  const where = sql`where org_id = ${orgId} and id = ${projectId}`;
  const [project] = await database.select(Project, orgId, where);
  if (project) {
    const em = database.forOrganisation(orgId);
    (await vault.rowMacs(em)).verify(em, Project, project);
    return;
  }
  const message = 'There is no such project.';
  throw new AppError('NOT_FOUND', message, {
    issues: [{ path: ['input', 'projectId'], message }],
    remedy: 'Check the project id, or leave it out for a connection of the organisation itself.',
  });
}

/**
 * Spares Okta a question whose answer could not be kept. What really keeps names apart are the unique indexes.
 *
 * @throws AppError `NAME_TAKEN`
 */
export async function assertNameAvailable(
  database: RowReader,
  place: ProjectScope,
  name: string,
  path: readonly string[],
): Promise<void> {
  if (await isTaken(database, place)(name)) throw nameTakenError(place, path);
}

const taken = new WeakMap<RowReader, LRUCache<string, (name: string) => Promise<boolean>>>();
const maxPlaces = 1_000;
const nameOnly = ['name'] as const;

/** Looks up names in one place, those of one moment in one statement. */
function isTaken(database: RowReader, { orgId, projectId = null }: ProjectScope) {
  const places = taken.get(database) ?? new LRUCache({ max: maxPlaces });
  taken.set(database, places);
  const place = `${orgId} ${projectId}`;
  const known = places.get(place);
  if (known) return known;
  const find = createBatchLoader(async (names) => {
    const named = joinAnd([
      ...[sql`org_id = ${orgId}`, sql`name = any(${names})`, sql`deleted_at is null`],
      inProject(projectId),
    ]);
    const found = await database.select(AppConnection, orgId, sql`where ${named}`, { only: nameOnly });
    const inUse = new Set(found.map(({ name }) => name));
    return names.map((name) => inUse.has(name));
  });
  places.set(place, find);
  return find;
}

/** Runs a change that may give a name a second time, which is `NAME_TAKEN`. */
export async function mapNameConflict<T>(
  place: ProjectScope,
  path: readonly string[],
  change: () => Promise<T>,
): Promise<T> {
  try {
    return await change();
  } catch (error) {
    throw isNameConflict(error) ? nameTakenError(place, path) : error;
  }
}

function nameTakenError({ projectId }: ProjectScope, path: readonly string[]): AppError {
  const where = projectId == null ? 'without a project' : 'in this project';
  const message = `Another connection ${where} has this name.`;
  return new AppError('NAME_TAKEN', message, { issues: [{ path, message }], remedy: 'Choose another name.' });
}

function isNameConflict(error: unknown): boolean {
  return (
    error instanceof UniqueConstraintViolationException &&
    nameIndexes.some((index) => index === (error as { constraint?: unknown }).constraint)
  );
}
