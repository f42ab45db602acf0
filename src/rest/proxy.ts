import type { IncomingMessage, ServerResponse } from 'node:http';
import type { App } from '../apps/app.ts';
import type { Authentication } from '../auth/authentication.ts';
import { currentRequest, type Logger } from '../common/log.ts';
import { traced } from '../common/tracing.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { assertNextPageUsable } from '../connections/use/next-link.ts';
import { withCallerUrls } from '../connections/use/response-headers.ts';
import { maxWaitSeconds } from '../connections/use/send-within-budget.ts';
import { useConnection } from '../connections/use/use-connection.ts';
import type { UseResponse } from '../connections/use/use-request.ts';
import { useMethods } from '../connections/use-policy/decide.ts';
import { readConsumerLabel } from '../http/consumer-label.ts';
import { createDisconnectSignal } from '../http/disconnect-signal.ts';
import { hasBody } from '../http/json-body.ts';
import { readPreferredWait } from '../http/preferred-wait.ts';
import { type PublicOriginOptions, publicOrigin } from '../http/public-origin.ts';
import { streamBody } from '../http/request-stream.ts';
import { describeProblem, type ProblemResponse } from './problem.ts';

/** The dependencies of the proxy. */
export interface ProxyOptions extends PublicOriginOptions {
  connections: ConnectionDeps;
  authentication: Authentication;
  log: Logger;
}

/** A request for the app of a connection. */
export interface ProxyTarget {
  connectionId: string;
  /** The id of the app in the URL. Absent if the host names the connection. */
  app?: string;
  /** What follows the proxy's part of the URL, as it was sent. */
  path: string;
  /** With its question mark. */
  query: string;
  /** The path that replaces the origin of the app in links. */
  prefix: string;
}

const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const route = new RegExp(`^(/api/v1/app-connections/([a-z0-9-]+)/(${uuid})/proxy)(/[^?]*)(.*)$`, 'is');
const subdomain = new RegExp(`^(${uuid})\\.(.+?)(?::\\d+)?$`, 'i');

/** Finds the connection that the host names. */
export function findProxyHost(
  { url = '', headers: { host = '' } }: Pick<IncomingMessage, 'url' | 'headers'>,
  proxyDomain: string | undefined,
): ProxyTarget | undefined {
  if (!proxyDomain || !url.startsWith('/')) return undefined;
  const [, id, domain] = subdomain.exec(host) ?? [];
  if (!id || domain?.toLowerCase() !== proxyDomain) return undefined;
  const [path = ''] = url.split('?', 1);
  return { connectionId: id.toLowerCase(), path, query: url.slice(path.length), prefix: '' };
}

/**
 * Finds the connection that the route of the proxy names.
 *
 * @param url without the base path
 */
export function findProxyRoute(url = '', basePath: string): ProxyTarget | undefined {
  const [, prefix, app, id, path = '', query = ''] = route.exec(url) ?? [];
  if (!app || !id) return undefined;
  return { connectionId: id.toLowerCase(), app, path, query, prefix: `${basePath}${prefix}` };
}

/** The methods that pages of allowed origins may use. */
export const proxyMethods = useMethods.filter((method) => method !== 'OPTIONS');

/** Creates the handler of requests that go to the app of a connection. */
export function createProxy(options: ProxyOptions) {
  const { connections, authentication, log } = options;

  return async (target: ProxyTarget, request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { connectionId, app, path, query, prefix } = target;
    const body = hasBody(request) ? streamBody(request) : undefined;
    let used: UseResponse | undefined;
    try {
      const record = currentRequest.getStore();
      if (record) record.operation = 'proxy';
      const authorization = toBearer(request.headers.authorization);
      const caller = await authentication.authenticateUse(authorization);
      if (record) Object.assign(record, caller.actor);
      await connections.scheduler.waitForTurn(caller.orgId);
      const use = () =>
        useConnection(
          connections,
          caller,
          { id: connectionId, ...(app && { app }) },
          {
            method: request.method ?? '',
            path,
            query,
            headers: request.rawHeaders,
            body,
            waitSeconds: readPreferredWait(request.headers, maxWaitSeconds),
            label: readConsumerLabel(request.headers),
            signal: createDisconnectSignal(response),
            authenticateAgain: () => authentication.assertStillAuthenticated(authorization),
          },
        );
      used = await traced(() => ({ name: 'proxy', kind: 'internal' }), use);
      if (request.method === 'GET') assertNextPageUsable(used);
      writeHead(response, used, () => `${publicOrigin(request, options)}${prefix}`);
      used.body.sendTo(response);
    } catch (error) {
      // A body that nothing reads could not be discarded, and would block the connection.
      body?.destroy();
      used?.body.destroy();
      // The client has disconnected.
      if (response.destroyed) return;
      const { status, headers, body: problem } = describeProblem(error, log);
      response
        .writeHead(status, { 'content-type': 'application/problem+json', ...headers })
        .end(JSON.stringify({ ...describeForClients(connections.apps, app, problem), ...problem }));
    }
  };
}

/** Returns what the clients of the app show of an error. A host does not name the app, so it may be any. */
function describeForClients(
  apps: readonly App[],
  appId: string | undefined,
  { code, detail, remedy }: ProblemResponse['body'],
): object {
  const message = remedy ? `${detail} ${remedy}` : detail;
  const methods = apps.filter(({ id }) => !appId || id === appId).flatMap((app) => app.methods);
  return Object.assign({}, ...methods.map(({ use }) => use?.describeError?.({ code, message })));
}

/** Okta's clients send an API token with the scheme SSWS. */
function toBearer(authorization: string | undefined): string | null {
  return authorization?.replace(/^SSWS +/i, 'Bearer ') ?? null;
}

function writeHead(
  response: ServerResponse,
  { getUrl, status, headers, opened }: UseResponse,
  getPrefix: () => string,
): void {
  for (const [name, value] of withCallerUrls(headers, getUrl, getPrefix, opened.app.name)) {
    if (status === 204 && name === 'content-length') continue;
    response.setHeader(name, value);
  }
  // Pages of allowed origins may read all headers, whatever the app names them.
  if (response.hasHeader('access-control-allow-origin'))
    response.setHeader('access-control-expose-headers', '*');
  response.writeHead(status);
}
