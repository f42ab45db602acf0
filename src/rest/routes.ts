import { z } from 'zod';
import type { Caller } from '../access/caller.ts';
import type { App } from '../apps/app.ts';
import type { AppConnection } from '../connections/app-connection.entity.ts';
import { createConnection } from '../connections/create.ts';
import { connectionName } from '../connections/input.ts';
import type { ConnectionParts } from '../connections/parts.ts';
import { getConnection, getConnectionByName, listConnections } from '../connections/read.ts';
import { deleteConnection } from '../connections/remove.ts';
import { updateConnection } from '../connections/update.ts';
import type { ErrorCode } from '../errors.ts';
import {
  availableAnswer,
  connectionAnswer,
  deletedAnswer,
  optionAnswer,
  showAvailable,
  showConnection,
  showDeleted,
} from './answers.ts';
import { createBody, deleteQuery, idPath, listQuery, noQuery, placeQuery, updateBody } from './input.ts';
import { type Answer, type Route, route } from './route.ts';

const root = '/api/v1/app-connections';

/** What an app may say about the credentials that it is asked about. */
const diagnoses: readonly ErrorCode[] = [
  'CREDENTIALS_REJECTED',
  'INSUFFICIENT_PERMISSIONS',
  'NOT_AN_OKTA_ORG',
  'HOST_NOT_ALLOWED',
  'UPSTREAM_RATE_LIMITED',
  'UPSTREAM_UNREACHABLE',
];

/** Every route about connections; of two whose paths fit, the first is meant. */
export function createRoutes(parts: ConnectionParts): readonly Route[] {
  const answers = parts.apps.map((app) => ({ app, connection: connectionAnswer(app) }));
  return [
    listRoute(
      parts,
      answers.map(({ connection }) => connection),
    ),
    optionsRoute(parts.apps),
    ...answers.flatMap(({ app, connection }) => routesOf(parts, app, connection)),
  ];
}

type ConnectionAnswer = ReturnType<typeof connectionAnswer>;

function listRoute(parts: ConnectionParts, connections: readonly ConnectionAnswer[]): Route {
  return route(
    {
      method: 'GET',
      path: root,
      id: 'listConnections',
      summary: 'Lists connections to every app, in order of name.',
      rules: { query: listQuery },
      answer: z.object({ appConnections: z.array(z.union(connections)) }),
      isPaged: true,
    },
    ({ query }, caller) => page(parts, caller, root, query, (each) => showConnection(parts, each)),
  );
}

function optionsRoute(apps: readonly App[]): Route {
  return route(
    {
      method: 'GET',
      path: `${root}/options`,
      id: 'listOptions',
      summary: 'Lists the apps there are, and the ways in which they let us in.',
      rules: { query: noQuery },
      answer: z.object({ appConnectionOptions: z.array(optionAnswer) }),
    },
    async () => ({
      body: {
        appConnectionOptions: apps.map(({ name, id, methods }) => ({
          name,
          app: id,
          methods: methods.map((method) => method.id),
        })),
      },
    }),
  );
}

function routesOf(parts: ConnectionParts, app: App, connection: ConnectionAnswer): Route[] {
  const path = `${root}/${app.id}`;
  const one = z.object({ appConnection: connection });
  const show = (found: AppConnection) => showConnection(parts, found);
  return [
    route(
      {
        method: 'POST',
        path,
        id: `create${app.name}Connection`,
        summary: `Asks ${app.name} whether the credentials work, seals them and keeps the connection.`,
        rules: { query: noQuery, body: createBody(app) },
        answer: one,
        codes: ['NOT_FOUND', 'NAME_TAKEN', 'IDEMPOTENCY_CONFLICT', ...diagnoses],
      },
      async ({ body }, caller) => ({
        body: { appConnection: show(await createConnection(parts, caller, app.id, body)) },
      }),
    ),
    route(
      {
        method: 'GET',
        path,
        id: `list${app.name}Connections`,
        summary: `Lists connections to ${app.name}, in order of name.`,
        rules: { query: listQuery },
        answer: z.object({ appConnections: z.array(connection) }),
        isPaged: true,
      },
      ({ query }, caller) => page(parts, caller, path, { ...query, app: app.id }, show),
    ),
    route(
      {
        method: 'GET',
        path: `${path}/available`,
        id: `listAvailable${app.name}Connections`,
        summary: `Lists the connections to ${app.name} that this key may use, in order of name.`,
        rules: { query: listQuery },
        answer: z.object({ appConnections: z.array(availableAnswer(app)) }),
        isPaged: true,
      },
      ({ query }, caller) =>
        page(parts, caller, `${path}/available`, { ...query, app: app.id }, showAvailable),
    ),
    route(
      {
        method: 'GET',
        path: `${path}/connection-name/:name`,
        id: `get${app.name}ConnectionByName`,
        summary: 'Gives a connection by its name.',
        rules: { path: z.object({ name: connectionName }), query: placeQuery },
        answer: one,
        codes: ['NOT_FOUND'],
      },
      async ({ path: { name }, query: { projectId = null } }, caller) => ({
        body: { appConnection: show(await getConnectionByName(parts, caller, name, projectId, app.id)) },
      }),
    ),
    route(
      {
        method: 'GET',
        path: `${path}/:id`,
        id: `get${app.name}Connection`,
        summary: 'Gives a connection by its id.',
        rules: { path: idPath, query: noQuery },
        answer: one,
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id } }, caller) => ({
        body: { appConnection: show(await getConnection(parts, caller, id, app.id)) },
      }),
    ),
    route(
      {
        method: 'PATCH',
        path: `${path}/:id`,
        id: `update${app.name}Connection`,
        summary: `Changes a connection. New credentials replace the old ones only if ${app.name} accepts them.`,
        rules: { path: idPath, query: noQuery, body: updateBody(app) },
        answer: one,
        codes: ['NOT_FOUND', 'NAME_TAKEN', 'VERSION_CONFLICT', 'IDEMPOTENCY_CONFLICT', ...diagnoses],
      },
      async ({ path: { id }, body }, caller) => ({
        body: { appConnection: show(await updateConnection(parts, caller, app.id, id, body)) },
      }),
    ),
    route(
      {
        method: 'DELETE',
        path: `${path}/:id`,
        id: `delete${app.name}Connection`,
        summary: 'Hides a connection at once and frees its name; or, with `purge`, really removes it.',
        rules: { path: idPath, query: deleteQuery },
        answer: z.object({ appConnection: deletedAnswer }),
        codes: ['NOT_FOUND', 'VERSION_CONFLICT', 'IDEMPOTENCY_CONFLICT'],
      },
      async ({ path: { id }, query }, caller) => {
        const deleted = await deleteConnection(parts, caller, { ...query, id, app: app.id });
        return { body: { appConnection: showDeleted(deleted) } };
      },
    ),
  ];
}

/** A page of a list, with a link to the next one. */
async function page<T>(
  parts: ConnectionParts,
  caller: Caller,
  path: string,
  query: z.output<typeof listQuery> & { app?: string },
  show: (connection: AppConnection) => T,
): Promise<Answer<{ appConnections: T[] }>> {
  const { projectId, app, limit, cursor } = query;
  const found = await listConnections(parts, caller, { projectId, app, first: limit, after: cursor });
  const body = { appConnections: found.nodes.map(show) };
  if (found.endCursor === null || !(await found.hasNextPage())) return { body };
  const next = new URLSearchParams({ cursor: found.endCursor });
  if (limit !== undefined) next.set('limit', `${limit}`);
  if (projectId !== undefined) next.set('projectId', `${projectId}`);
  return { body, headers: { link: `<${path}?${next}>; rel="next"` } };
}
