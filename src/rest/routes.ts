import { z } from 'zod';
import type { AdministrationDeps } from '../administration/deps.ts';
import type { App } from '../apps/app.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { createAccessRoutes } from './access-routes.ts';
import { createAppRoutes } from './app-routes.ts';
import { auditRoute } from './audit-routes.ts';
import {
  type ConnectionResponse,
  connectionResponse,
  optionResponse,
  serializeConnection,
} from './connection-serializers.ts';
import { createOpenApi } from './openapi.ts';
import { paginate } from './paginate.ts';
import { listAllQuery, noQuery } from './request-schemas.ts';
import { type Route, route } from './route.ts';
import { createSetupRoutes } from './setup-routes.ts';
import { createWebhookRoutes } from './webhook-routes.ts';

const root = '/api/v1/app-connections';

/** The routes, and the OpenAPI document that describes them; one of the routes serves the document. */
export interface RestApi {
  routes: readonly Route[];
  /** Returns the document. The first call creates it, which takes longer than everything else at the start of the REST API. */
  getDocument(): object;
}

/** Creates every route under `/api/`. `basePath` precedes `/api/` in the URLs of the OpenAPI document. */
export function createRestApi(
  deps: ConnectionDeps,
  administration: AdministrationDeps,
  basePath: string,
): RestApi {
  let document: object | undefined;
  const getDocument = () => {
    document ??= createOpenApi(routes, deps.apps, basePath);
    return document;
  };
  const routes = [...createRoutes(deps, administration), openApiRoute(getDocument)];
  return { routes, getDocument };
}

/** The first route whose path matches is used. */
function createRoutes(deps: ConnectionDeps, administration: AdministrationDeps): readonly Route[] {
  const answers = deps.apps.map((app) => ({ app, connection: connectionResponse(app) }));
  return [
    listRoute(
      deps,
      answers.map(({ connection }) => connection),
    ),
    optionsRoute(deps.apps),
    ...answers.flatMap(({ app, connection }) => createAppRoutes(deps, app, `${root}/${app.id}`, connection)),
    ...createSetupRoutes(deps),
    auditRoute(deps),
    ...createAccessRoutes(administration),
    ...createWebhookRoutes(deps),
  ];
}

function listRoute(deps: ConnectionDeps, connections: readonly ConnectionResponse[]): Route {
  return route(
    {
      method: 'GET',
      path: root,
      id: 'listConnections',
      summary: 'Lists connections to all apps.',
      schemas: { query: listAllQuery(deps.apps) },
      response: z.object({ appConnections: z.array(z.union(connections)) }),
      isPaged: true,
    },
    ({ query }, caller) =>
      paginate(deps, caller, { path: root }, query, (each) => serializeConnection(deps, each)),
  );
}

function optionsRoute(apps: readonly App[]): Route {
  return route(
    {
      method: 'GET',
      path: `${root}/options`,
      id: 'listOptions',
      summary: 'Lists the apps and their methods.',
      schemas: { query: noQuery },
      response: z.object({ appConnectionOptions: z.array(optionResponse) }),
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

function openApiRoute(getDocument: () => object): Route {
  return {
    method: 'GET',
    path: '/api/v1/openapi.json',
    id: 'describeRoutes',
    summary: 'Describes these routes as an OpenAPI document. Needs a key in production only.',
    schemas: { query: noQuery },
    response: z.looseObject({ openapi: z.string() }),
    isPublic: true,
    handle: async () => ({ body: getDocument() }),
  };
}
