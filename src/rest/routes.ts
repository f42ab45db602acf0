import { z } from 'zod';
import type { AdministrationParts } from '../administration/parts.ts';
import type { App } from '../apps/app.ts';
import type { ConnectionParts } from '../connections/parts.ts';
import { createAccessRoutes } from './access-routes.ts';
import { type ConnectionAnswer, connectionAnswer, optionAnswer, showConnection } from './answers.ts';
import { createAppRoutes } from './app-routes.ts';
import { auditRoute } from './audit-routes.ts';
import { listQueryOfAll, noQuery } from './input.ts';
import { page } from './page.ts';
import { type Route, route } from './route.ts';

const root = '/api/v1/app-connections';

/** Every route; of two whose paths fit, the first is meant. */
export function createRoutes(parts: ConnectionParts, administration: AdministrationParts): readonly Route[] {
  const answers = parts.apps.map((app) => ({ app, connection: connectionAnswer(app) }));
  return [
    listRoute(
      parts,
      answers.map(({ connection }) => connection),
    ),
    optionsRoute(parts.apps),
    ...answers.flatMap(({ app, connection }) => createAppRoutes(parts, app, `${root}/${app.id}`, connection)),
    auditRoute(parts),
    ...createAccessRoutes(administration),
  ];
}

function listRoute(parts: ConnectionParts, connections: readonly ConnectionAnswer[]): Route {
  return route(
    {
      method: 'GET',
      path: root,
      id: 'listConnections',
      summary: 'Lists connections to every app, in order of name unless said.',
      rules: { query: listQueryOfAll(parts.apps) },
      answer: z.object({ appConnections: z.array(z.union(connections)) }),
      isPaged: true,
    },
    ({ query }, caller) => page(parts, caller, { path: root }, query, (each) => showConnection(parts, each)),
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
