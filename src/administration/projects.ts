import { randomUUID } from 'node:crypto';
import { type FilterQuery, raw, UniqueConstraintViolationException } from '@mikro-orm/core';
import { storeWithEvents } from '../audit/audited-change.ts';
import { withRequestContext } from '../audit/hash-chain.ts';
import { withForbiddenAudit, withRefusalAudit } from '../audit/record-refusals.ts';
import { currentTime } from '../common/clock.ts';
import { errorField } from '../common/error-field.ts';
import { AppError } from '../common/errors.ts';
import {
  createListOrder,
  cursorSchema,
  decodeCursor,
  type Page,
  type PageOptions,
  toPage,
} from '../common/pagination.ts';
import { storableText } from '../common/text.ts';
import { updateRow } from '../database/row-statements.ts';
import type { Caller } from '../identity/caller.ts';
import { Project, projectNameIndex } from '../identity/organisation.entity.ts';
import type { AdministrationDeps } from './deps.ts';

const byName = createListOrder(
  'projects',
  ({ name }: Project) => name,
  storableText(64, 'A name of a project has at most 64 characters.'),
);

/** The schema of a cursor of the list. */
export const projectCursor = cursorSchema(byName);

/**
 * Creates a project.
 *
 * @throws AppError `FORBIDDEN`, `NAME_TAKEN`, `RATE_LIMITED`
 */
export async function createProject(
  deps: AdministrationDeps,
  caller: Caller,
  { name }: { name: string },
): Promise<Project> {
  const attempt = { action: 'CREATE_PROJECT', targetName: name } as const;
  return withRefusalAudit(deps, caller, attempt, async () => {
    caller.requireScope('access:admin');
    caller.requireWholeOrganisation();
    await deps.limits.checkChange(caller);
    const { orgId } = caller;
    const unsigned = { id: randomUUID(), orgId, name, createdAt: currentTime() };
    const event = { ...caller.actor, ...attempt, projectId: unsigned.id, fields: ['name'] };
    const recorded = withRequestContext({ ...event, outcome: 'OK' });
    const change = storeWithEvents(deps, orgId, {
      prepare: async (em) => {
        const project = (await deps.vault.rowMacs(em)).signed(em, Project, unsigned);
        return { events: [recorded], inserts: [[Project, project]], result: project };
      },
    });
    return mapNameConflict(change);
  });
}

/**
 * Renames a project.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `NAME_TAKEN`, `RATE_LIMITED`
 */
export async function renameProject(
  deps: AdministrationDeps,
  caller: Caller,
  { id, name }: { id: string; name: string },
): Promise<Project> {
  const attempt = { action: 'RENAME_PROJECT', projectId: id, targetName: name } as const;
  return withRefusalAudit(deps, caller, attempt, async () => {
    caller.requireScope('access:admin');
    // Names are unique in the organisation, so NAME_TAKEN would reveal the names of projects that the caller cannot see.
    caller.requireWholeOrganisation();
    await deps.limits.checkChange(caller);
    const event = withRequestContext({ ...caller.actor, ...attempt, fields: ['name'], outcome: 'OK' });
    const change = storeWithEvents(deps, caller.orgId, {
      row: { entity: Project, id },
      prepare: async (em) => {
        const project = await em.findOne(Project, { $and: [{ id }, projectVisibilityFilter(caller)] });
        if (!project) {
          throw new AppError('NOT_FOUND', 'There is no such project.', {
            remedy: 'Check the id. `projects` lists the projects.',
          });
        }
        const macs = await deps.vault.rowMacs(em);
        macs.verify(em, Project, project);
        if (project.name === name) return { events: [], result: project };
        const { mac: readMac } = project;
        Object.assign(project, { name, mac: macs.signed(em, Project, { ...project, name }).mac });
        const update = updateRow(em, Project, project, ['name', 'mac']);
        return { events: [event], updates: [update], readMac, result: project };
      },
    });
    return mapNameConflict(change);
  });
}

/**
 * Lists the projects that the caller may use, by name.
 *
 * @throws AppError `FORBIDDEN`, `BAD_USER_INPUT` (the cursor)
 */
export async function listProjects(
  deps: AdministrationDeps,
  caller: Caller,
  { first, after }: PageOptions,
): Promise<Page<Project>> {
  return withForbiddenAudit(deps, caller, { action: 'READ_PROJECTS' }, async () => {
    caller.requireScope('connections:read', 'access:admin');
    const cursor = after == null ? undefined : decodeCursor(byName, after);
    const afterCursor = cursor ? { [raw('("name", "id") > (?, ?)', [cursor.key, cursor.id])]: [] } : {};
    const projects = await deps.database
      .forOrganisation(caller.orgId)
      .find(
        Project,
        { $and: [projectVisibilityFilter(caller), afterCursor] },
        { orderBy: { name: 'asc', id: 'asc' }, limit: first + 1 },
      );
    return toPage(byName, projects, first);
  });
}

/**
 * Returns the filter for the projects of the organisation, or for those that the caller is limited to: by its projects, and by
 * those of its connections.
 */
export function projectVisibilityFilter({ orgId, projectIds, connectionIds }: Caller): FilterQuery<Project> {
  const ofConnections =
    '"id" in (select "project_id" from "app_connection" where "org_id" = ? and "id" in (?))';
  return {
    orgId,
    ...(projectIds && { id: { $in: [...projectIds] } }),
    ...(connectionIds && { [raw(ofConnections, [orgId, [...connectionIds]])]: [] }),
  };
}

async function mapNameConflict<T>(change: Promise<T>): Promise<T> {
  try {
    return await change;
  } catch (error) {
    const isConflict = error instanceof UniqueConstraintViolationException;
    if (!isConflict || errorField(error, 'constraint') !== projectNameIndex) throw error;
    const message = 'Another project has this name.';
    throw new AppError('NAME_TAKEN', message, {
      issues: [{ path: ['name'], message }],
      remedy: 'Choose another name.',
    });
  }
}
