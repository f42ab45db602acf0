import { z } from 'zod';
import { type App, typeNameOf } from '../apps/app.ts';
import type { ConnectionParts } from '../connections/parts.ts';
import { getConnection } from '../connections/read.ts';
import { validateCredentials, verifyConnection } from '../connections/verify.ts';
import { showValidation, showVerification, validationAnswer, verificationAnswer } from './check-answers.ts';
import { idPath, noQuery, validateBody } from './input.ts';
import { type Route, route } from './route.ts';

/** The route that tries credentials and keeps nothing. Its path is a word where others have an id. */
export function validateRoute(parts: ConnectionParts, app: App, path: string): Route {
  return route(
    {
      method: 'POST',
      path: `${path}/validate`,
      id: `validate${typeNameOf(app)}Credentials`,
      summary:
        `Asks ${app.name} whether credentials work, and keeps nothing. What ${app.name} says is the outcome, also when ` +
        'it says no; errors are about the request alone.',
      rules: { query: noQuery, body: validateBody(app) },
      answer: z.object({ validation: validationAnswer(app) }),
      codes: ['HOST_NOT_ALLOWED'],
    },
    async ({ body: { method, credentials } }, caller) => {
      const diagnosis = await validateCredentials(parts, caller, { app: app.id, method }, credentials);
      return { body: { validation: showValidation(app, diagnosis) } };
    },
  );
}

/** The routes about whether the credentials of a connection work. */
export function createVerificationRoutes(parts: ConnectionParts, app: App, path: string): Route[] {
  const answer = z.object({ verification: verificationAnswer(app) });
  return [
    route(
      {
        method: 'GET',
        path: `${path}/:id/verification`,
        id: `get${typeNameOf(app)}ConnectionVerification`,
        summary: `Gives the outcome of the last time that ${app.name} was asked whether the credentials work.`,
        rules: { path: idPath, query: noQuery },
        answer,
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id } }, caller) => {
        const connection = await getConnection(parts, caller, id, app.id);
        return { body: { verification: showVerification(app, caller, connection) } };
      },
    ),
    route(
      {
        method: 'POST',
        path: `${path}/:id/verify`,
        id: `verify${typeNameOf(app)}Connection`,
        summary:
          `Asks ${app.name} again whether the credentials work, and keeps the outcome. That ${app.name} cannot be ` +
          'asked is an outcome, not an error.',
        rules: { path: idPath, query: noQuery },
        answer,
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id } }, caller) => {
        const connection = await verifyConnection(parts, caller, { id, app: app.id });
        return { body: { verification: showVerification(app, caller, connection) } };
      },
    ),
  ];
}
