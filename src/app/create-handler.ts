import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RefusalRecorder } from '../audit/refusal-counter.ts';
import { createAuthentication } from '../auth/authentication.ts';
import { Authenticator } from '../auth/authenticator.ts';
import { createTokenVerifier } from '../auth/oidc.ts';
import { createOidcClientConfig } from '../auth/oidc-client-config.ts';
import { SignInCodes, signInUrl } from '../auth/sign-in-codes.ts';
import { signInPath } from '../bootstrap/sign-in-link.ts';
import { isLoopbackHost } from '../common/loopback.ts';
import type { Config } from '../config/config.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { createSetupLinkAuthenticator } from '../connections/setup-links/authenticate.ts';
import { createCors } from '../http/cors.ts';
import { loadDashboard } from '../http/dashboard-files.ts';
import type { OutboundClient } from '../outbound/outbound.ts';
import { createProxy } from '../rest/proxy.ts';
import { createPublishedKeys } from '../rest/published-keys.ts';
import { createRest } from '../rest/rest.ts';
import { createUnsubscribePage } from '../rest/unsubscribe-page.ts';
import { createRecorder } from './connection-deps.ts';
import { createGraphQL } from './graphql-server.ts';
import { Readiness } from './readiness.ts';
import { createRequestHandler } from './request-handler.ts';
import type { ServerDeps } from './server-deps.ts';

/** What answers the requests to a server. */
export interface Handler {
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
  readiness: Readiness;
  /** Counts refused authentications. */
  authenticationRefusals: RefusalRecorder;
  /** Creates a link that signs a browser in once; absent without one-time codes or a page. */
  createSignInLink: ((serverUrl: string) => string) | undefined;
  /** Releases what GraphQL holds. */
  dispose(): Promise<void>;
}

/**
 * Creates the handler of all requests, with authentication, GraphQL, REST, the proxy and the dashboard.
 *
 * @param providerOutbound the client for requests to the identity provider, if one is configured
 */
export function createHandler(
  config: Config,
  deps: ServerDeps,
  connections: ConnectionDeps,
  providerOutbound: OutboundClient | undefined,
): Handler {
  const { database, vault, log } = deps;
  const { limits, refusals } = connections;
  const provider = config.oidc && providerOutbound && { settings: config.oidc, outbound: providerOutbound };
  const tokens = provider && createTokenVerifier(provider.settings, provider.outbound);
  const authenticator = new Authenticator(database, vault, tokens);
  const authenticationRefusals = createRecorder(deps);
  const countAttempts = {
    refusals: authenticationRefusals,
    limits: config.rateLimits ? limits : undefined,
  };
  const shared = {
    connections,
    administration: { database, vault, authenticator, refusals, limits },
    authentication: createAuthentication({ authenticator, ...countAttempts }),
    openIntrospection: !config.production,
    log,
  };
  const setupLinks = createAuthentication({
    authenticator: createSetupLinkAuthenticator(connections),
    ...countAttempts,
  });
  const graphql = createGraphQL({ ...shared, graphiql: config.graphiql });
  const readiness = new Readiness({ database, vault, log });
  const getOidcConfig = provider && createOidcClientConfig(provider.settings, provider.outbound, log);
  const codes =
    deps.signInKey && !config.production && isLoopbackHost(config.host)
      ? new SignInCodes(deps.signInKey, deps.signInCodes)
      : undefined;
  const signInPage = signInPath(config, deps.dashboardFolder);
  const handle = createRequestHandler({
    config,
    cors: createCors(config.corsOrigins),
    graphql,
    rest: createRest({
      ...shared,
      authenticateSetupLink: setupLinks.authenticate,
      basePath: config.basePath,
    }),
    proxy: createProxy({ ...shared, ...config }),
    publishedKeys: createPublishedKeys(shared),
    unsubscribePage: createUnsubscribePage(shared),
    readiness,
    dashboard: loadDashboard(deps.dashboardFolder),
    dashboardSettings: async () => ({ oidc: await getOidcConfig?.() }),
    codes,
  });
  return {
    handle,
    readiness,
    authenticationRefusals,
    createSignInLink:
      codes && signInPage ? (serverUrl) => signInUrl(serverUrl + signInPage, codes.issue()) : undefined,
    dispose: () => graphql.dispose(),
  };
}
