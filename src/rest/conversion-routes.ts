import { z } from 'zod';
import { type App, type AuthMethod, appTypeName } from '../apps/app.ts';
import { convertConnectionSchema, findConversionMethod } from '../connections/convert-input.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { cancelConversion, cancellationDescription } from '../connections/operations/cancel-conversion.ts';
import { convertConnection } from '../connections/operations/convert.ts';
import { cancelPayloadFields, convertPayloadFields } from '../connections/payload-authorization.ts';
import { describeMembers } from './body-descriptions.ts';
import { toObject, withSecrets } from './connection-bodies.ts';
import { type ChangedConnectionResponse, serializeChangedConnection } from './connection-serializers.ts';
import { idempotencyHeaders, idPath, noQuery, readIdempotencyKey } from './request-schemas.ts';
import { type Route, route, verificationCodes } from './route.ts';

/** The routes of conversions to another method; none if the app has no method to convert to. */
export function createConversionRoutes(
  deps: ConnectionDeps,
  app: App,
  path: string,
  appConnection: ChangedConnectionResponse,
): Route[] {
  const method = findConversionMethod(app);
  if (!method) return [];
  const response = z.object({ appConnection });
  return [
    route(
      {
        method: 'POST',
        path: `${path}/:id/convert`,
        id: `convert${appTypeName(app)}Connection`,
        summary:
          `Converts a connection to the method “${method.label}”. With a private key of yours, the new credentials replace the ` +
          'old ones at once, or nothing changes. Without one, this server makes the key, and the old credentials stay in use ' +
          'until a verification finds that the new ones work.',
        schemas: {
          path: idPath,
          query: noQuery,
          headers: idempotencyHeaders,
          body: convertBody(app, method),
        },
        response,
        codes: [
          ...(['NOT_FOUND', 'VERSION_CONFLICT', 'IDEMPOTENCY_CONFLICT', 'CONNECTION_IN_USE'] as const),
          ...verificationCodes,
        ],
      },
      async ({ path: { id }, headers, body }, caller, getSignal) => {
        const input = { ...body, ...readIdempotencyKey(headers) };
        const options = { signal: getSignal() };
        const connection = await convertConnection(deps, caller, { app: app.id, id }, input, options);
        const fields = convertPayloadFields(input);
        return { body: { appConnection: serializeChangedConnection(deps, caller, connection, fields) } };
      },
    ),
    route(
      {
        method: 'DELETE',
        path: `${path}/:id/conversion`,
        id: `cancel${appTypeName(app)}ConnectionConversion`,
        summary: cancellationDescription,
        schemas: { path: idPath, query: noQuery },
        response,
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id } }, caller) => {
        const connection = await cancelConversion(deps, caller, { id, app: app.id });
        return {
          body: { appConnection: serializeChangedConnection(deps, caller, connection, cancelPayloadFields) },
        };
      },
    ),
  ];
}

/** The body of a conversion: the schema of the service, for JSON. */
function convertBody(app: App, method: AuthMethod) {
  return z
    .preprocess((body) => withSecrets(app, toObject(body), 'to'), convertConnectionSchema(method))
    .meta({
      id: `Convert${appTypeName(app)}Connection`,
      description: `The new credentials for ${app.name}, by the method “${method.label}”.`,
      override: ({ jsonSchema }) => describeMembers(jsonSchema, app),
    });
}
