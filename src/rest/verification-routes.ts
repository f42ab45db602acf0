import { z } from 'zod';
import { type App, appTypeName } from '../apps/app.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { getConnection } from '../connections/operations/read.ts';
import { validateCredentials, verifyConnection } from '../connections/operations/verify.ts';
import { validateBody } from './connection-bodies.ts';
import { idPath, noQuery } from './request-schemas.ts';
import { type Route, route } from './route.ts';
import {
  serializeValidation,
  serializeVerification,
  validationResponse,
  verificationResponse,
} from './verification-serializers.ts';

/** The route that verifies credentials without storing them. Has to precede the routes with `:id`. */
export function validateRoute(deps: ConnectionDeps, app: App, path: string): Route {
  return route(
    {
      method: 'POST',
      path: `${path}/validate`,
      id: `validate${appTypeName(app)}Credentials`,
      summary:
        `Checks credentials with ${app.name} without storing them. If ${app.name} rejects them, that is a result and ` +
        'not an error.',
      schemas: { query: noQuery, body: validateBody(app) },
      response: z.object({ validation: validationResponse(app) }),
      codes: ['HOST_NOT_ALLOWED'],
    },
    async ({ body: { method, credentials } }, caller, getSignal) => {
      const diagnosis = await validateCredentials(
        deps,
        caller,
        { app: app.id, method },
        credentials,
        getSignal(),
      );
      return { body: { validation: serializeValidation(app, diagnosis) } };
    },
  );
}

/** The routes of the verification of a connection. */
export function createVerificationRoutes(deps: ConnectionDeps, app: App, path: string): Route[] {
  const response = z.object({ verification: verificationResponse(app) });
  return [
    route(
      {
        method: 'GET',
        path: `${path}/:id/verification`,
        id: `get${appTypeName(app)}ConnectionVerification`,
        summary: `Returns the result of the last verification with ${app.name}.`,
        schemas: { path: idPath, query: noQuery },
        response,
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id } }, caller) => {
        const connection = await getConnection(deps, caller, id, app.id);
        return { body: { verification: serializeVerification(app, caller, connection) } };
      },
    ),
    route(
      {
        method: 'POST',
        path: `${path}/:id/verify`,
        id: `verify${appTypeName(app)}Connection`,
        summary:
          `Verifies the stored credentials with ${app.name} and stores the result. If ${app.name} does not answer, that ` +
          'is a result and not an error.',
        schemas: { path: idPath, query: noQuery },
        response,
        codes: ['NOT_FOUND', 'CONNECTION_PENDING'],
      },
      async ({ path: { id } }, caller, getSignal) => {
        const target = { id, app: app.id };
        const connection = await verifyConnection(deps, caller, target, { signal: getSignal() });
        return { body: { verification: serializeVerification(app, caller, connection) } };
      },
    ),
  ];
}
