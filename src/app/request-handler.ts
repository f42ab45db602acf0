import type { IncomingMessage, ServerResponse } from 'node:http';
import { exchangePath, type SignInCodes } from '../auth/sign-in-codes.ts';
import { currentRequest } from '../common/log.ts';
import type { Config } from '../config/config.ts';
import { lacksTrailingSlash, withoutBasePath } from '../http/base-path.ts';
import type { Cors } from '../http/cors.ts';
import { isCrossSite, isNavigation } from '../http/cross-site.ts';
import type { DashboardHandler, DashboardSettings } from '../http/dashboard-files.ts';
import { handleHealthCheck } from '../http/health.ts';
import { isOwnHost } from '../http/host-check.ts';
import { sendText } from '../http/http-server.ts';
import { findProxyHost, findProxyRoute, type ProxyTarget, proxyMethods } from '../rest/proxy.ts';
import { findPublishedKeys } from '../rest/published-keys.ts';
import { isUnsubscribePath } from '../webhooks/unsubscribe.ts';
import type { GraphQLEndpoint } from './graphql-server.ts';
import type { Readiness } from './readiness.ts';
import { handleCodeExchange } from './sign-in-exchange.ts';

/** The dependencies of the request handler. */
export interface RequestHandlerDeps {
  config: Pick<Config, 'basePath' | 'production' | 'host' | 'graphiql' | 'proxyDomain'>;
  cors: Cors;
  graphql: GraphQLEndpoint;
  rest(request: IncomingMessage, response: ServerResponse): Promise<void>;
  proxy(target: ProxyTarget, request: IncomingMessage, response: ServerResponse): Promise<void>;
  publishedKeys(connectionId: string, request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** Links in e-mails lead to it, and mail programs send requests to it. */
  unsubscribePage(request: IncomingMessage, response: ServerResponse): Promise<void>;
  readiness: Readiness;
  dashboard: DashboardHandler;
  dashboardSettings(): Promise<DashboardSettings>;
  /** Absent if there are no one-time sign-in codes. */
  codes: SignInCodes | undefined;
}

/** The template of the paths of the proxy, for traces. */
const proxyRoute = '/api/v1/app-connections/:app/:id/proxy/*';

function setSurface(surface: string, route?: string): void {
  const record = currentRequest.getStore();
  if (record) Object.assign(record, { surface, ...(route && { route }) });
}

/** Creates the handler of all HTTP requests: checks base path, Host and origin, and routes by path. */
export function createRequestHandler(deps: RequestHandlerDeps) {
  const {
    config,
    cors,
    graphql,
    rest,
    proxy,
    publishedKeys,
    unsubscribePage,
    readiness,
    dashboard,
    dashboardSettings,
    codes,
  } = deps;
  const { basePath } = config;
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let target = findProxyHost(request, config.proxyDomain);
    // The host alone names the connection, and every path is the app's.
    const isForApp = target !== undefined;
    if (!isForApp && lacksTrailingSlash(request.url, basePath)) {
      // Without the slash, relative URLs of the page would resolve outside the base path.
      response.setHeader('location', `${basePath}/${request.url?.slice(basePath.length)}`);
      return sendText(response, 308, `The dashboard is at ${basePath}/`);
    }
    if (!isForApp) request.url = withoutBasePath(request.url, basePath);
    target ??= findProxyRoute(request.url, basePath);
    const path = request.url?.split('?', 1)[0] ?? '';
    // Anyone may read public keys, from any page and, during development, through a tunnel with a host name of its own.
    const keysOf = isForApp ? undefined : findPublishedKeys(request.url);
    if (keysOf) return publishedKeys(keysOf, request, response);
    // The link itself shows who may follow it, from any page and any mail program.
    if (!isForApp && isUnsubscribePath(request.url)) return unsubscribePage(request, response);
    cors.setHeaders(request, response);
    // Protects against DNS rebinding: another site could resolve its own name to this machine.
    if (!config.production && !isForApp && !isOwnHost(request.headers.host, config.host)) {
      return sendText(
        response,
        421,
        'In development, the Host header must be localhost or the value of HOST.',
      );
    }
    const isPage = !target && !path.startsWith('/api/') && (path !== '/graphql' || config.graphiql);
    if (isCrossSite(request) && !cors.isAllowed(request) && !(isPage && isNavigation(request))) {
      return sendText(
        response,
        403,
        'The request comes from a page of another origin, which is not in CORS_ORIGINS.',
      );
    }
    if (target) {
      const record = currentRequest.getStore();
      // What an app is asked for may name people.
      if (record) Object.assign(record, { path: `${target.prefix}/…`, surface: 'proxy', route: proxyRoute });
      if (cors.handlePreflight(request, response, proxyMethods)) return;
      return proxy(target, request, response);
    }
    if (path.startsWith('/api/')) {
      if (cors.handlePreflight(request, response, ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])) return;
      setSurface('rest');
      return rest(request, response);
    }
    switch (path) {
      case '/graphql':
        if (cors.handlePreflight(request, response, ['GET', 'POST'])) return;
        setSurface('graphql', path);
        return graphql.handle(request, response);
      case '/health/live':
      case '/health/ready':
        return handleHealthCheck(request, response, () => readiness.isReady());
      default:
        if (codes && path === `/${exchangePath}`) return handleCodeExchange(codes, request, response);
        if (await dashboard.handle(request, response, dashboardSettings)) return;
        return sendText(
          response,
          404,
          `Not found. The dashboard is at ${basePath}/ and GraphQL at ${basePath}/graphql.`,
        );
    }
  };
}
