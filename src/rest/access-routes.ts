import { z } from 'zod';
import { apiKeyCursor, createApiKey, listApiKeys } from '../administration/api-keys.ts';
import type { AdministrationDeps } from '../administration/deps.ts';
import { createApiKeySchema, displayName } from '../administration/input-schemas.ts';
import { createProject, listProjects, projectCursor, renameProject } from '../administration/projects.ts';
import { revokeApiKey } from '../administration/revoke-api-keys.ts';
import { getViewer } from '../administration/viewer.ts';
import { timestamp } from '../common/date-time.ts';
import { strictObject } from '../common/strict-object.ts';
import { uuid } from '../connections/input-schemas.ts';
import {
  apiKeyResponse,
  projectResponse,
  serializeApiKey,
  serializeProject,
  serializeViewer,
  viewerResponse,
} from './access-serializers.ts';
import { linkHeader } from './paginate.ts';
import { booleanParameter, idPath, noQuery, pageQuery } from './request-schemas.ts';
import { type Route, route } from './route.ts';

const root = '/api/v1';

/** The routes of the viewer, projects and API keys. */
export function createAccessRoutes(deps: AdministrationDeps): Route[] {
  return [viewerRoute(deps), ...projectRoutes(deps), ...apiKeyRoutes(deps)];
}

function viewerRoute(deps: AdministrationDeps): Route {
  return route(
    {
      method: 'GET',
      path: `${root}/viewer`,
      id: 'getViewer',
      summary: 'Returns the caller and its permissions. Needs no scope.',
      schemas: { query: noQuery },
      response: z.object({ viewer: viewerResponse }),
    },
    async (_, caller) => ({ body: { viewer: serializeViewer(await getViewer(deps, caller)) } }),
  );
}

const projectBody = strictObject({
  name: displayName.meta({ description: 'The name: 1 to 64 characters, unique in the organisation.' }),
}).meta({ id: 'NamedProject', description: 'The name of a project.' });

function projectRoutes(deps: AdministrationDeps): Route[] {
  const path = `${root}/projects`;
  const one = z.object({ project: projectResponse });
  return [
    route(
      {
        method: 'GET',
        path,
        id: 'listProjects',
        summary: 'Lists the projects of the caller. Scope: connections:read or access:admin.',
        schemas: { query: strictObject(pageQuery(projectCursor)) },
        response: z.object({ projects: z.array(projectResponse) }),
        isPaged: true,
      },
      async ({ query }, caller) => {
        const { limit: first = 20, cursor: after } = query;
        const { nodes, hasNextPage, endCursor } = await listProjects(deps, caller, { first, after });
        return {
          body: { projects: nodes.map(serializeProject) },
          ...linkHeader(path, query, hasNextPage ? endCursor : null),
        };
      },
    ),
    route(
      {
        method: 'POST',
        path,
        id: 'createProject',
        summary: 'Creates a project. Scope: access:admin, not limited to projects or connections.',
        schemas: { query: noQuery, body: projectBody },
        response: one,
        codes: ['NAME_TAKEN'],
      },
      async ({ body }, caller) => ({
        body: { project: serializeProject(await createProject(deps, caller, body)) },
      }),
    ),
    route(
      {
        method: 'PATCH',
        path: `${path}/:id`,
        id: 'renameProject',
        summary: 'Renames a project. Scope: access:admin, not limited to projects or connections.',
        schemas: { path: idPath, query: noQuery, body: projectBody },
        response: one,
        codes: ['NOT_FOUND', 'NAME_TAKEN'],
      },
      async ({ path: { id }, body: { name } }, caller) => ({
        body: { project: serializeProject(await renameProject(deps, caller, { id, name })) },
      }),
    ),
  ];
}

const { shape: keyRules } = createApiKeySchema;
const apiKeyBody = strictObject({
  name: keyRules.name.meta({ description: 'The display name: 1 to 64 characters.' }),
  scopes: keyRules.scopes.meta({ description: 'The scopes of the key.' }),
  projectIds: z
    .array(uuid)
    .nullish()
    .pipe(keyRules.projectIds)
    .meta({ description: 'The projects that the key is limited to. Absent: not limited.' }),
  connectionIds: z
    .array(uuid)
    .nullish()
    .pipe(keyRules.connectionIds)
    .meta({ description: 'The connections that the key is limited to. Absent: not limited.' }),
  expiresAt: timestamp
    .nullish()
    .pipe(keyRules.expiresAt)
    .meta({ description: 'The time at which the key expires. Absent: never.' }),
}).meta({
  id: 'CreateApiKey',
  description: 'The API key to create. It cannot have more rights than its creator.',
});

function apiKeyRoutes(deps: AdministrationDeps): Route[] {
  const path = `${root}/api-keys`;
  return [
    route(
      {
        method: 'GET',
        path,
        id: 'listApiKeys',
        summary: 'Lists the API keys, newest first. Scope: access:admin.',
        schemas: {
          query: strictObject({
            includeRevoked: booleanParameter.meta({ description: 'Whether to include revoked keys.' }),
            ...pageQuery(apiKeyCursor),
          }),
        },
        response: z.object({ apiKeys: z.array(apiKeyResponse) }),
        isPaged: true,
      },
      async ({ query }, caller) => {
        const { limit: first = 20, cursor: after, includeRevoked } = query;
        const found = await listApiKeys(deps, caller, { first, after, includeRevoked });
        return {
          body: { apiKeys: found.nodes.map(serializeApiKey) },
          ...linkHeader(path, query, found.hasNextPage ? found.endCursor : null),
        };
      },
    ),
    route(
      {
        method: 'POST',
        path,
        id: 'createApiKey',
        summary: 'Creates an API key. Scope: access:admin.',
        schemas: { query: noQuery, body: apiKeyBody },
        response: z.object({
          apiKey: apiKeyResponse,
          key: z.string().meta({ description: 'The key. Only this response contains it.' }),
        }),
        codes: ['NOT_FOUND'],
      },
      async ({ body }, caller) => {
        const { apiKey, key } = await createApiKey(deps, caller, body);
        return { body: { apiKey: serializeApiKey(apiKey), key: key.reveal() } };
      },
    ),
    route(
      {
        method: 'POST',
        path: `${path}/:id/revoke`,
        id: 'revokeApiKey',
        summary:
          'Revokes an API key. It stops working on every server within five seconds. Scope: access:admin.',
        schemas: {
          path: idPath,
          query: strictObject({
            andWhatItMade: booleanParameter.meta({
              description: 'Whether to revoke also every key that it created, that those created, and so on.',
            }),
          }),
        },
        response: z.object({
          apiKey: apiKeyResponse,
          revokedApiKeys: z.array(apiKeyResponse).meta({
            description: 'Every API key that this request revoked.',
          }),
        }),
        codes: ['NOT_FOUND', 'LAST_ADMINISTRATOR'],
      },
      async ({ path: { id }, query: { andWhatItMade } }, caller) => {
        const { apiKey, revoked } = await revokeApiKey(deps, caller, id, andWhatItMade);
        return { body: { apiKey: serializeApiKey(apiKey), revokedApiKeys: revoked.map(serializeApiKey) } };
      },
    ),
  ];
}
