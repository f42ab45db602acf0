import { z } from 'zod';
import { type App, appTypeName } from '../apps/app.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { describeRotation, rotateConnectionKey } from '../connections/operations/rotate-key.ts';
import { rotatePayloadFields } from '../connections/payload-authorization.ts';
import { type ChangedConnectionResponse, serializeChangedConnection } from './connection-serializers.ts';
import { idPath, noQuery } from './request-schemas.ts';
import { type Route, route } from './route.ts';

/** The route that rotates the key of a connection; none for an app without keys of this server. */
export function rotateKeyRoutes(
  deps: ConnectionDeps,
  app: App,
  path: string,
  changed: ChangedConnectionResponse,
): Route[] {
  if (!app.methods.some(({ managedKeys }) => managedKeys)) return [];
  return [
    route(
      {
        method: 'POST',
        path: `${path}/:id/rotate-key`,
        id: `rotate${appTypeName(app)}ConnectionKey`,
        summary: describeRotation(app),
        schemas: { path: idPath, query: noQuery },
        response: z.object({ appConnection: changed }),
        codes: ['NOT_FOUND', 'CONNECTION_PENDING'],
      },
      async ({ path: { id } }, caller, getSignal) => {
        const target = { id, app: app.id };
        const connection = await rotateConnectionKey(deps, caller, target, { signal: getSignal() });
        return {
          body: { appConnection: serializeChangedConnection(deps, caller, connection, rotatePayloadFields) },
        };
      },
    ),
  ];
}
