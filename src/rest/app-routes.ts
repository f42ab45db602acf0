import { z } from 'zod';
import { type App, appTypeName } from '../apps/app.ts';
import type { AppConnection } from '../connections/app-connection.entity.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { connectionName } from '../connections/input-schemas.ts';
import { createConnection } from '../connections/operations/create.ts';
import { deleteConnection, restoreConnection } from '../connections/operations/delete-and-restore.ts';
import { getConnection, getConnectionByName } from '../connections/operations/read.ts';
import { updateConnection } from '../connections/operations/update.ts';
import { restorePayloadFields, updatePayloadFields } from '../connections/payload-authorization.ts';
import { createBody, restoreBody, updateBody } from './connection-bodies.ts';
import {
  availableConnectionResponse,
  type ConnectionResponse,
  changedConnectionResponse,
  deletedConnectionResponse,
  serializeAvailableConnection,
  serializeChangedConnection,
  serializeConnection,
  serializeDeletedConnection,
} from './connection-serializers.ts';
import { createConversionRoutes } from './conversion-routes.ts';
import { healthRoute } from './health-route.ts';
import { paginate } from './paginate.ts';
import {
  deleteQuery,
  idempotencyHeaders,
  idPath,
  listQuery,
  noQuery,
  projectQuery,
  readIdempotencyKey,
} from './request-schemas.ts';
import { rotateKeyRoutes } from './rotate-key-route.ts';
import { type Route, route, verificationCodes } from './route.ts';
import { createSetupLinkRoutes } from './setup-link-routes.ts';
import { usageRoute, usedByRoute } from './usage-routes.ts';
import { createUsePolicyRoutes } from './use-policy-routes.ts';
import { createVerificationRoutes, validateRoute } from './verification-routes.ts';

/** What the routes of an app share. */
interface AppRoutes {
  deps: ConnectionDeps;
  app: App;
  path: string;
  connection: ConnectionResponse;
}

/** The routes of connections to one app, under `path`. The first route whose path matches is used. */
export function createAppRoutes(
  deps: ConnectionDeps,
  app: App,
  path: string,
  connection: ConnectionResponse,
): Route[] {
  const common = { deps, app, path, connection };
  const changed = changedConnectionResponse(app, connection);
  return [
    creationRoute(common),
    ...listRoutes(common),
    validateRoute(deps, app, path),
    ...readRoutes(common),
    ...changeRoutes(common, changed),
    ...createVerificationRoutes(deps, app, path),
    ...createConversionRoutes(deps, app, path, changed),
    ...rotateKeyRoutes(deps, app, path, changed),
    healthRoute(deps, app, path),
    ...createUsePolicyRoutes(deps, app, path),
    usageRoute(deps, app, path),
    usedByRoute(deps, app, path),
    ...createSetupLinkRoutes(deps, app, path),
  ];
}

function creationRoute({ deps, app, path, connection }: AppRoutes): Route {
  return route(
    {
      method: 'POST',
      path,
      id: `create${appTypeName(app)}Connection`,
      summary: `Creates a connection, after verifying the credentials with ${app.name}.`,
      schemas: { query: noQuery, headers: idempotencyHeaders, body: createBody(app) },
      response: z.object({ appConnection: connection }),
      codes: ['NOT_FOUND', 'NAME_TAKEN', 'IDEMPOTENCY_CONFLICT', ...verificationCodes],
    },
    async ({ headers, body }, caller, getSignal) => {
      const input = { ...body, ...readIdempotencyKey(headers) };
      const created = await createConnection(deps, caller, app.id, input, getSignal());
      return { body: { appConnection: serializeConnection(deps, created) } };
    },
  );
}

function listRoutes({ deps, app, path, connection }: AppRoutes): Route[] {
  const show = (found: AppConnection) => serializeConnection(deps, found);
  return [
    route(
      {
        method: 'GET',
        path,
        id: `list${appTypeName(app)}Connections`,
        summary: `Lists the connections to ${app.name}.`,
        schemas: { query: listQuery([app]) },
        response: z.object({ appConnections: z.array(connection) }),
        isPaged: true,
      },
      ({ query }, caller) => paginate(deps, caller, { path, app: app.id }, query, show),
    ),
    route(
      {
        method: 'GET',
        path: `${path}/available`,
        id: `listAvailable${appTypeName(app)}Connections`,
        summary: `Lists the connections to ${app.name} that the caller may use, in short.`,
        schemas: { query: listQuery([app]) },
        response: z.object({ appConnections: z.array(availableConnectionResponse(app)) }),
        isPaged: true,
      },
      ({ query }, caller) =>
        paginate(
          deps,
          caller,
          { path: `${path}/available`, app: app.id },
          query,
          serializeAvailableConnection,
        ),
    ),
  ];
}

function readRoutes({ deps, app, path, connection }: AppRoutes): Route[] {
  const response = z.object({ appConnection: connection });
  const show = (found: AppConnection) => ({ body: { appConnection: serializeConnection(deps, found) } });
  return [
    route(
      {
        method: 'GET',
        path: `${path}/connection-name/:name`,
        id: `get${appTypeName(app)}ConnectionByName`,
        summary:
          'Returns a connection by name: in the project `projectId`, or among the connections without a project.',
        schemas: { path: z.object({ name: connectionName }), query: projectQuery },
        response,
        codes: ['NOT_FOUND'],
      },
      async ({ path: { name }, query: { projectId = null } }, caller) =>
        show(await getConnectionByName(deps, caller, name, projectId, app.id)),
    ),
    route(
      {
        method: 'GET',
        path: `${path}/:id`,
        id: `get${appTypeName(app)}Connection`,
        summary: 'Returns a connection by id.',
        schemas: { path: idPath, query: noQuery },
        response,
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id } }, caller) => show(await getConnection(deps, caller, id, app.id)),
    ),
  ];
}

/** The codes of an update, beside those of verifying its credentials. */
const updateCodes = [
  'NOT_FOUND',
  'NAME_TAKEN',
  'VERSION_CONFLICT',
  'IDEMPOTENCY_CONFLICT',
  'CONNECTION_IN_USE',
] as const;

/** The routes that update, delete and restore a connection. */
function changeRoutes(
  { deps, app, path }: Omit<AppRoutes, 'connection'>,
  changed: ReturnType<typeof changedConnectionResponse>,
): Route[] {
  const response = z.object({ appConnection: changed });
  return [
    route(
      {
        method: 'PATCH',
        path: `${path}/:id`,
        id: `update${appTypeName(app)}Connection`,
        summary: `Updates a connection. New credentials replace the old ones only if ${app.name} accepts them.`,
        schemas: { path: idPath, query: noQuery, headers: idempotencyHeaders, body: updateBody(app) },
        response,
        codes: [...updateCodes, ...verificationCodes],
      },
      async ({ path: { id }, headers, body }, caller, getSignal) => {
        const input = { ...body, ...readIdempotencyKey(headers) };
        const connection = await updateConnection(deps, caller, { app: app.id, id }, input, {
          signal: getSignal(),
        });
        const fields = updatePayloadFields(app, input);
        return { body: { appConnection: serializeChangedConnection(deps, caller, connection, fields) } };
      },
    ),
    route(
      {
        method: 'DELETE',
        path: `${path}/:id`,
        id: `delete${appTypeName(app)}Connection`,
        summary: 'Deletes a connection. It can be restored, unless `purge` is true.',
        schemas: { path: idPath, query: deleteQuery, headers: idempotencyHeaders },
        response: z.object({ appConnection: deletedConnectionResponse }),
        codes: ['NOT_FOUND', 'VERSION_CONFLICT', 'IDEMPOTENCY_CONFLICT', 'CONNECTION_IN_USE'],
      },
      async ({ path: { id }, query, headers }, caller) => {
        const target = { ...query, ...readIdempotencyKey(headers), id, app: app.id };
        const deleted = await deleteConnection(deps, caller, target);
        return { body: { appConnection: serializeDeletedConnection(deleted) } };
      },
    ),
    route(
      {
        method: 'POST',
        path: `${path}/:id/restore`,
        id: `restore${appTypeName(app)}Connection`,
        summary: 'Restores a deleted connection, under its old name or a new one.',
        schemas: { path: idPath, query: noQuery, body: restoreBody },
        isBodyOptional: true,
        response,
        codes: ['NOT_FOUND', 'NAME_TAKEN'],
      },
      async ({ path: { id }, body: { name } }, caller) => {
        const connection = await restoreConnection(deps, caller, { id, app: app.id }, name);
        const fields = restorePayloadFields(name);
        return { body: { appConnection: serializeChangedConnection(deps, caller, connection, fields) } };
      },
    ),
  ];
}
