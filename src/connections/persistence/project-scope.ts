import { UniqueConstraintViolationException } from '@mikro-orm/postgresql';
import { LRUCache } from 'lru-cache';
import { Problem } from '../../common/errors.ts';
import { lookUpTogether } from '../../database/group-commit.ts';
import type { Rows } from '../../database/row-reader.ts';
import { allOf, sql } from '../../database/sql.ts';
import { Project } from '../../identity/organisation.entity.ts';
import { AppConnection, nameIndexes } from '../app-connection.entity.ts';
import type { ConnectionParts } from '../deps.ts';
import { inProject } from './list-conditions.ts';

/** Where a name must be unique: a project, or the organisation's connections without a project. */
export interface Place {
  orgId: string;
  projectId?: string | null | undefined;
}

/**
 * @throws Problem `NOT_FOUND` when the organisation has no such project
 * @throws MacMismatch when its row is not as this server wrote it
 */
export async function assertProject(
  { database, vault }: ConnectionParts,
  { orgId, projectId }: Place,
): Promise<void> {
  if (projectId == null) return;
  const where = sql`where org_id = ${orgId} and id = ${projectId}`;
  const [project] = await database.select(Project, orgId, where);
  if (project) {
    const em = database.fork(orgId);
    (await vault.rowMacs(em)).verify(em, Project, project);
    return;
  }
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
  database: Rows,
  place: Place,
  name: string,
  path: readonly string[],
): Promise<void> {
  if (await isTaken(database, place)(name)) throw nameTaken(place, path);
}

const taken = new WeakMap<Rows, LRUCache<string, (name: string) => Promise<boolean>>>();
const maxPlaces = 1_000;
const nameOnly = ['name'] as const;

/** Looks up names in one place, those of one moment in one statement. */
function isTaken(database: Rows, { orgId, projectId = null }: Place) {
  const places = taken.get(database) ?? new LRUCache({ max: maxPlaces });
  taken.set(database, places);
  const place = `${orgId} ${projectId}`;
  const known = places.get(place);
  if (known) return known;
  const find = lookUpTogether(async (names) => {
    const named = allOf([
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
