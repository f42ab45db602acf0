import type { IncomingMessage, ServerResponse } from 'node:http';
import type { App } from '../apps/app.ts';
import { createApps } from '../apps/index.ts';
import { startFakeOkta } from '../apps/okta/fake-okta.ts';
import { startCheckpoints } from '../audit/checkpoints.ts';
import { RefusalRecorder } from '../audit/refusal-counter.ts';
import { createAuthentication } from '../auth/authentication.ts';
import { Authenticator } from '../auth/authenticator.ts';
import { createTokenVerifier } from '../auth/oidc.ts';
import { createOidcClientConfig } from '../auth/oidc-client-config.ts';
import { maxProviderBytes } from '../auth/oidc-discovery.ts';
import { exchangePath, SignInCodes, signInUrl } from '../auth/sign-in-codes.ts';
import { signInPath } from '../bootstrap/sign-in-link.ts';
import { FairScheduler } from '../common/fair-scheduler.ts';
import type { Logger } from '../common/log.ts';
import type { Secret } from '../common/secret.ts';
import { openCheckpointReceiver } from '../config/checkpoint-receiver.ts';
import type { Config } from '../config/config.ts';
import { findTlsRisks } from '../config/security-warnings.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import type { Database } from '../database/database.ts';
import type { Vault } from '../encryption/vault.ts';
import { lacksTrailingSlash, withoutBasePath } from '../http/base-path.ts';
import { createCors } from '../http/cors.ts';
import { isCrossSite, isNavigation } from '../http/cross-site.ts';
import { loadDashboard } from '../http/dashboard-files.ts';
import { handleHealthCheck } from '../http/health.ts';
import { isLoopback, isOwnHost } from '../http/host-check.ts';
import { sendText, startHttpServer } from '../http/http-server.ts';
import { hostPort } from '../outbound/host-port.ts';
import { createOutbound, type OutboundSettings } from '../outbound/outbound.ts';
import { defaultRates, type Rates } from '../rate-limits/defaults.ts';
import { createRateLimits, unlimited } from '../rate-limits/rate-limits.ts';
import { createRest } from '../rest/rest.ts';
import { startCleanUp } from './clean-up.ts';
import { createGraphQL } from './graphql-server.ts';
import { Readiness } from './readiness.ts';
import { handleCodeExchange } from './sign-in-exchange.ts';

/** What a server is made of besides its configuration. */
export interface ServerDeps {
  database: Database;
  vault: Vault;
  log: Logger;
  /** The apps there are, where they are not to be as usual. */
  apps?: readonly App[] | undefined;
  /** What one-time codes are exchanged for, in development on a loopback address; elsewhere there are no codes. */
  signInKey?: Secret | undefined;
  signInCodes?: ConstructorParameters<typeof SignInCodes>[1];
  /** The folder of the built dashboard, where that is not the usual one. */
  dashboardFolder?: string | undefined;
  /** How names are resolved and how long others may take to answer, where that is not to be as usual. */
  outbound?: Pick<OutboundSettings, 'lookup' | 'timeoutMs'>;
  /** How often something may be done, where that is not to be as usual. */
  rates?: Partial<Rates> | undefined;
  /** What shares the event loop among organisations, where it is not to be as usual. */
  scheduler?: FairScheduler | undefined;
}

/** A server that is listening. */
export interface Server {
  url: string;
  /** An address that signs a browser in, once; absent where there are no one-time codes or no page to sign in to. */
  createSignInLink?: (() => string) | undefined;
  /** Takes no more requests, finishes those in flight (within 8 s), and lets go of everything it made. */
  close(): Promise<void>;
}

const drainMs = 8_000;

/**
 * Wires the rooms together and listens.
 *
 * @throws StartupError when the port cannot be had
 */
export async function createServer(config: Config, deps: ServerDeps): Promise<Server> {
  const { database, vault, log } = deps;
  const { auditCheckpointFile, auditCheckpointReceiver } = config;
  const checkpoints = startCheckpoints(
    { database, vault, log },
    {
      file: auditCheckpointFile,
      receiver: auditCheckpointReceiver && openCheckpointReceiver(auditCheckpointReceiver, config),
    },
  );
  const fakeOkta = config.fakeOkta ? await startFakeOkta() : undefined;
  const outbound = createOutbound({
    trustedHosts: config.trustedInstanceHosts,
    allowedHosts: config.allowedInstanceHosts,
    proxy: config.outboundProxy,
    proxyResolves: config.outboundProxyResolves,
    ...(fakeOkta && { originOverrides: new Map([['https://example.okta.com', fakeOkta.url]]) }),
    ...deps.outbound,
  });
  const limits = config.rateLimits ? createRateLimits(deps, { ...defaultRates, ...deps.rates }) : unlimited;
  const { windowSeconds } = { ...defaultRates, ...deps.rates };
  const refusals = new RefusalRecorder({ database, vault, log }, windowSeconds * 1_000);
  const connections: ConnectionDeps = {
    apps: deps.apps ?? createApps({ trustedHosts: config.trustedInstanceHosts }),
    database,
    vault,
    outbound,
    limits,
    scheduler: deps.scheduler ?? new FairScheduler(),
    deletedRetentionDays: config.deletedRetentionDays,
    refusals,
  };
  // The operator has named the identity provider, which may well be inside.
  const provider = config.oidc && {
    settings: config.oidc,
    outbound: createOutbound({
      trustedHosts: new Set([...config.trustedInstanceHosts, hostPort(new URL(config.oidc.issuer))]),
      proxy: config.outboundProxy,
      proxyResolves: config.outboundProxyResolves,
      timeoutMs: 5_000,
      maxBytes: maxProviderBytes,
    }),
  };
  const tokens = provider && createTokenVerifier(provider.settings, provider.outbound);
  const authenticator = new Authenticator(database, vault, tokens);
  const authenticationRefusals = new RefusalRecorder({ database, vault, log }, windowSeconds * 1_000);
  const shared = {
    connections,
    administration: { database, vault, authenticator, refusals, limits },
    authentication: createAuthentication({
      authenticator,
      refusals: authenticationRefusals,
      limits: config.rateLimits ? limits : undefined,
    }),
    openIntrospection: !config.production,
    log,
  };
  const graphql = createGraphQL({ ...shared, graphiql: config.graphiql });
  const rest = createRest({ ...shared, basePath: config.basePath });
  const readiness = new Readiness({ database, vault, log });
  const cors = createCors(config.corsOrigins);
  const dashboard = loadDashboard(deps.dashboardFolder);
  const signInOffer = provider && createOidcClientConfig(provider.settings, provider.outbound, log);
  const dashboardSettings = async () => ({ oidc: await signInOffer?.() });
  const codes =
    deps.signInKey && !config.production && isLoopback(config.host)
      ? new SignInCodes(deps.signInKey, deps.signInCodes)
      : undefined;
  const signInPage = signInPath(config, deps.dashboardFolder);

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { basePath } = config;
    if (lacksTrailingSlash(request.url, basePath)) {
      // Else what the page names relative to itself would be looked for beside it.
      response.setHeader('location', `${basePath}/${request.url?.slice(basePath.length)}`);
      return sendText(response, 308, `The dashboard is at ${basePath}/`);
    }
    request.url = withoutBasePath(request.url, basePath);
    const path = request.url?.split('?', 1)[0] ?? '';
    cors.setHeaders(request, response);
    // A page elsewhere could point its own name at this machine, and would then be of the same origin.
    if (!config.production && !isOwnHost(request.headers.host, config.host)) {
      return sendText(
        response,
        421,
        'In development this server answers to localhost and to its HOST only, and the Host header says otherwise.',
      );
    }
    const isPage = !path.startsWith('/api/') && (path !== '/graphql' || config.graphiql);
    if (isCrossSite(request) && !cors.isAllowed(request) && !(isPage && isNavigation(request))) {
      return sendText(
        response,
        403,
        'This comes from a page of another origin, and CORS_ORIGINS does not name it.',
      );
    }
    if (path.startsWith('/api/')) {
      if (cors.handlePreflight(request, response, ['GET', 'POST', 'PATCH', 'DELETE'])) return;
      return rest(request, response);
    }
    switch (path) {
      case '/graphql':
        if (cors.handlePreflight(request, response, ['GET', 'POST'])) return;
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
          `Nothing is here; the dashboard is at ${basePath}/ and GraphQL at ${basePath}/graphql.`,
        );
    }
  };

  const closeOutbound = () => Promise.all([outbound.close(), provider?.outbound.close()]);
  const letGo = () => Promise.all([closeOutbound(), fakeOkta?.close()]);
  const { host, port, trustedProxies, production } = config;
  const listener = await startHttpServer({
    ...{ host, port, trustedProxies, log, handle },
    tls: config.tls && { ...config.tls, findRisks: production ? findTlsRisks : undefined },
    // Behind a proxy that ends TLS, the header is for whoever asks the proxy. On a developer's machine, it would send
    // browsers to look for TLS on every port of localhost.
    isOverTls: config.production || (config.tls !== undefined && !isLoopback(host)),
  }).catch(async (error) => {
    await checkpoints.close();
    await letGo();
    throw error;
  });

  const cleanUp = startCleanUp({ ...connections, log });

  return {
    url: listener.url + config.basePath,
    createSignInLink:
      codes && signInPage
        ? () => signInUrl(listener.url + config.basePath + signInPage, codes.issue())
        : undefined,
    close: async () => {
      const cleanedUp = cleanUp.stop();
      database.changes.close();
      // Whoever still waits for an app or the identity provider by then is told so, and has time left to hear it.
      const giveUp = setTimeout(closeOutbound, drainMs - 2_000);
      await listener.close(drainMs);
      clearTimeout(giveUp);
      await cleanedUp;
      await Promise.all([refusals.close(), authenticationRefusals.close()]);
      await graphql.dispose();
      await checkpoints.close();
      await letGo();
    },
  };
}
