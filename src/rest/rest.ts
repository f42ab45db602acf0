import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AdministrationDeps } from '../administration/deps.ts';
import type { Authentication } from '../auth/authentication.ts';
import type { Authenticate } from '../auth/authenticator.ts';
import { AppError, HttpError } from '../common/errors.ts';
import { currentRequest, type Logger } from '../common/log.ts';
import { traced } from '../common/tracing.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { createDisconnectSignal } from '../http/disconnect-signal.ts';
import { assertNoBody, hasBody, readJsonBody } from '../http/json-body.ts';
import { setInputMessages } from './input-messages.ts';
import { describeProblem } from './problem.ts';
import { findRoute, type RestResponse, type Route } from './route.ts';
import { createRestApi } from './routes.ts';

/** The dependencies of the REST API. */
export interface RestOptions {
  connections: ConnectionDeps;
  administration: AdministrationDeps;
  authentication: Authentication;
  /** Authenticates setup links, for the routes that take them. */
  authenticateSetupLink: Authenticate;
  /** Whether the OpenAPI document needs no credential. */
  openIntrospection: boolean;
  /** `BASE_PATH`, which precedes `/api/` in links; empty without one. */
  basePath: string;
  log: Logger;
}

/** Creates the handler of requests under `/api/`: finds the route, authenticates, reads the body, and calls the route. */
export function createRest(options: RestOptions) {
  const { connections, administration, log, basePath } = options;
  const { routes } = createRestApi(connections, administration, basePath);
  setInputMessages();

  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const { body, headers } = await handleRequest(options, routes, request, response);
      const publicLink = headers?.link && { link: headers.link.replace(/^<\//, `<${basePath}/`) };
      writeJson(response, 200, { 'content-type': 'application/json', ...headers, ...publicLink }, body);
    } catch (error) {
      // The client disconnected before the body was complete: no response can be sent, and it is not an error of the server.
      if (request.readableAborted) return;
      const { status, headers, body } = describeProblem(error, log);
      writeJson(response, status, { 'content-type': 'application/problem+json', ...headers }, body);
    }
  };
}

async function handleRequest(
  { authentication, authenticateSetupLink, openIntrospection, connections: { scheduler } }: RestOptions,
  routes: readonly Route[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<RestResponse<unknown>> {
  const { method = '', url = '', headers } = request;
  const [pathname = ''] = url.split('?', 1);
  const found = findRoute(routes, method, pathname);
  if (!found) {
    throw new HttpError(404, 'NOT_FOUND', 'The route does not exist.', {
      remedy: 'GET /api/v1/openapi.json describes the routes.',
    });
  }
  const { route, allowed } = found;
  if (!route) {
    throw new HttpError(405, 'BAD_USER_INPUT', 'The route does not support this method.', {
      headers: { allow: allowed.join(', ') },
      remedy: `Use ${allowed.join(' or ')}.`,
    });
  }

  const record = currentRequest.getStore();
  if (record) {
    record.operation = `${route.method} ${route.path}`;
    // The parameters of the path are what a client sent.
    record.path = route.path;
    record.route = route.path;
  }
  const { authorization = null } = headers;
  const authenticate = route.credential === 'setupLink' ? authenticateSetupLink : authentication.authenticate;
  const caller = await authenticate(authorization).catch((error: unknown) => {
    const isAllowed = route.isPublic && openIntrospection && authorization === null;
    if (isAllowed && error instanceof AppError && error.code === 'UNAUTHENTICATED') return undefined;
    throw error;
  });
  if (record && caller) Object.assign(record, caller.actor);

  const body = await readBody(route, request);
  await scheduler.waitForTurn(caller?.orgId ?? '');
  const parameters = new URLSearchParams(url.slice(pathname.length));
  const query = Object.fromEntries(
    [...new Set(parameters.keys())].map((name) => {
      const [first = '', ...others] = parameters.getAll(name);
      return [name, others.length > 0 ? [first, ...others] : first];
    }),
  );
  const restRequest = { path: found.parameters, query, headers, body };
  return traced(
    () => ({ name: route.id, kind: 'internal' }),
    () => route.handle(restRequest, caller, () => createDisconnectSignal(response)),
  );
}

async function readBody(
  { schemas, isBodyOptional }: Route,
  request: IncomingMessage,
): Promise<object | undefined> {
  if (!schemas.body) return assertNoBody(request);
  return isBodyOptional && !hasBody(request) ? {} : readJsonBody(request);
}

function writeJson(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: unknown,
): void {
  response.writeHead(status, headers).end(JSON.stringify(body));
}
