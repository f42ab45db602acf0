import type { App } from '../apps/app.ts';
import { createApps } from '../apps/index.ts';
import { startFakeOkta } from '../apps/okta/fake-okta.ts';
import { startAuditStream } from '../audit/audit-stream.ts';
import { startCheckpoints } from '../audit/checkpoints.ts';
import { publishMissedChanges } from '../audit/missed-changes.ts';
import { RefusalRecorder } from '../audit/refusal-counter.ts';
import { createAuthentication } from '../auth/authentication.ts';
import { Authenticator } from '../auth/authenticator.ts';
import { createTokenVerifier } from '../auth/oidc.ts';
import { createOidcClientConfig } from '../auth/oidc-client-config.ts';
import { SignInCodes, signInUrl } from '../auth/sign-in-codes.ts';
import { signInPath } from '../bootstrap/sign-in-link.ts';
import { FairScheduler } from '../common/fair-scheduler.ts';
import type { Logger } from '../common/log.ts';
import { isLoopbackHost } from '../common/loopback.ts';
import type { Secret } from '../common/secret.ts';
import { openCheckpointReceiver } from '../config/checkpoint-receiver.ts';
import type { Config } from '../config/config.ts';
import { findTlsRisks } from '../config/security-warnings.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { RateBudgets } from '../connections/rate-budget/rate-budgets.ts';
import { createSetupLinkAuthenticator } from '../connections/setup-links/authenticate.ts';
import { UsageCounter } from '../connections/usage/usage-counter.ts';
import type { Database } from '../database/database.ts';
import type { Vault } from '../encryption/vault.ts';
import { createCors } from '../http/cors.ts';
import { loadDashboard } from '../http/dashboard-files.ts';
import { startHttpServer } from '../http/http-server.ts';
import { startSchedule } from '../jobs/schedule.ts';
import { oauth } from '../oauth/oauth.ts';
import { isRecipientAllowed, openMailSender } from '../outbound/mail.ts';
import { defaultRates, type Rates } from '../rate-limits/defaults.ts';
import { createRateLimits, unlimited } from '../rate-limits/rate-limits.ts';
import { createProxy } from '../rest/proxy.ts';
import { createPublishedKeys } from '../rest/published-keys.ts';
import { createRest } from '../rest/rest.ts';
import { createUnsubscribePage } from '../rest/unsubscribe-page.ts';
import { openMetrics } from '../telemetry/open-metrics.ts';
import { openTracing } from '../telemetry/open-tracing.ts';
import { startWebhookDelivery } from '../webhooks/delivery.ts';
import { prepareOwnerNotice } from '../webhooks/prepare-owner-notice.ts';
import { startCleanUp } from './clean-up.ts';
import { createGraphQL } from './graphql-server.ts';
import { createOutboundClients, type OutboundOverrides } from './outbound-clients.ts';
import { Readiness } from './readiness.ts';
import { createRequestHandler } from './request-handler.ts';
import { listScheduledWork, type WorkIntervals } from './scheduled-work.ts';

/** The dependencies of a server. Optional members replace the defaults. */
export interface ServerDeps extends WorkIntervals {
  database: Database;
  vault: Vault;
  log: Logger;
  /** The supported apps. */
  apps?: readonly App[] | undefined;
  /** The API key for one-time sign-in codes, which exist only in development on a loopback address. */
  signInKey?: Secret | undefined;
  signInCodes?: ConstructorParameters<typeof SignInCodes>[1];
  /** The folder of the built dashboard. */
  dashboardFolder?: string | undefined;
  /** DNS lookup and timeout of outbound requests. */
  outbound?: OutboundOverrides;
  /** Overrides of the default rate limits. */
  rates?: Partial<Rates> | undefined;
  /** Shares the event loop among organisations. */
  scheduler?: FairScheduler | undefined;
  /** How often the server looks for messages of webhooks that are due, in milliseconds. Absent: it sends none. */
  webhookIntervalMs?: number | undefined;
}

/** A listening server. */
export interface Server {
  url: string;
  /** Creates a link that signs a browser in once; absent without one-time codes or a page. */
  createSignInLink?: (() => string) | undefined;
  /** The URL of the metrics; absent if they are off. */
  metricsUrl: string | undefined;
  /** Says "not ready" from now on, and goes on to serve requests. */
  leave(): void;
  /** Stops accepting requests, finishes those in flight (within 8 s), and releases all resources. */
  close(): Promise<void>;
}

const drainMs = 8_000;

/**
 * Creates all parts of the server and listens.
 *
 * @throws StartupError if it cannot listen on the port
 */
export async function createServer(config: Config, deps: ServerDeps): Promise<Server> {
  const { database, vault, log } = deps;
  const { auditCheckpointFile, auditCheckpointReceiver, auditRetentionDays, auditStream } = config;
  const streamsAudit = auditStream !== undefined;
  const checkpoints = startCheckpoints(
    { database, vault, log },
    {
      file: auditCheckpointFile,
      receiver: auditCheckpointReceiver && openCheckpointReceiver(auditCheckpointReceiver, config),
    },
  );
  const fakeOkta = config.fakeOkta ? await startFakeOkta() : undefined;
  const outbound = createOutboundClients(config, deps.outbound, fakeOkta?.url);
  const mail = config.mail && (await openMailSender(config.mail));
  const rates = { ...defaultRates, ...deps.rates };
  const limits = config.rateLimits ? createRateLimits(deps, rates) : unlimited;
  const createRecorder = () => new RefusalRecorder({ database, vault, log }, rates.windowSeconds * 1_000);
  const refusals = createRecorder();
  let listeningUrl = '';
  const connections: ConnectionDeps = {
    apps: deps.apps ?? createApps({ trustedHosts: config.trustedInstanceHosts, oauth }),
    database,
    vault,
    outbound: outbound.apps,
    limits,
    log,
    scheduler: deps.scheduler ?? new FairScheduler(database.usage),
    deletedRetentionDays: config.deletedRetentionDays,
    refusals,
    reads: createRecorder(),
    usage: new UsageCounter({ database, log }),
    getPublicUrl: () => config.publicUrl ?? listeningUrl,
    sendsMail: config.mail !== undefined,
    isRecipientAllowed: (address) => isRecipientAllowed(config.mail ?? {}, address),
    prepareOwnerNotice: (...change) => prepareOwnerNotice(connections, ...change),
    budgets: new RateBudgets({ database, log }),
  };
  const tracer = await openTracing(config, connections);
  const provider = config.oidc && outbound.provider && { settings: config.oidc, outbound: outbound.provider };
  const tokens = provider && createTokenVerifier(provider.settings, provider.outbound);
  const authenticator = new Authenticator(database, vault, tokens);
  const authenticationRefusals = createRecorder();
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
  const setupLinks = createAuthentication({
    authenticator: createSetupLinkAuthenticator(connections),
    refusals: authenticationRefusals,
    limits: config.rateLimits ? limits : undefined,
  });
  const rest = createRest({
    ...shared,
    authenticateSetupLink: setupLinks.authenticate,
    basePath: config.basePath,
  });
  const proxy = createProxy({ ...shared, ...config });
  const readiness = new Readiness({ database, vault, log });
  const cors = createCors(config.corsOrigins);
  const dashboard = loadDashboard(deps.dashboardFolder);
  const getOidcConfig = provider && createOidcClientConfig(provider.settings, provider.outbound, log);
  const dashboardSettings = async () => ({ oidc: await getOidcConfig?.() });
  const signInCodes =
    deps.signInKey && !config.production && isLoopbackHost(config.host)
      ? new SignInCodes(deps.signInKey, deps.signInCodes)
      : undefined;
  const signInPage = signInPath(config, deps.dashboardFolder);

  const handle = createRequestHandler({
    config,
    cors,
    graphql,
    rest,
    proxy,
    publishedKeys: createPublishedKeys(shared),
    unsubscribePage: createUnsubscribePage(shared),
    readiness,
    dashboard,
    dashboardSettings,
    codes: signInCodes,
  });

  const release = () => Promise.all([outbound.close(), fakeOkta?.close(), tracer?.close()]);
  const abandon = async (error: unknown): Promise<never> => {
    await checkpoints.close();
    await release();
    throw error;
  };
  const { host, port, trustedProxies, production } = config;
  const listener = await startHttpServer({
    host,
    port,
    trustedProxies,
    log,
    tracer,
    handle,
    tls: config.tls && { ...config.tls, findRisks: production ? findTlsRisks : undefined },
    // In production without TLS of its own, a proxy terminates TLS. On localhost, HSTS would make browsers require TLS on
    // every port.
    isOverTls: config.production || (config.tls !== undefined && !isLoopbackHost(host)),
  }).catch(abandon);

  listeningUrl = listener.url + config.basePath;

  const isReady = () => readiness.isReady();
  const metrics = await openMetrics(config, { ...connections, streamsAudit, isReady }).catch(
    async (error) => {
      await listener.close(0);
      return abandon(error);
    },
  );
  const cleanUp = startCleanUp({ ...connections, auditRetentionDays, streamsAudit, log });
  const stream = startAuditStream(connections, auditStream, deps.streamIntervalMs);
  const works = listScheduledWork(connections, config, deps);
  const schedule = works.length > 0 ? startSchedule({ database, log, tracer }, works) : undefined;
  const webhooks = deps.webhookIntervalMs
    ? startWebhookDelivery(
        { ...connections, outbound: outbound.webhooks, mail, tracer },
        deps.webhookIntervalMs,
      )
    : undefined;
  const stopPublishing = publishMissedChanges({ database, log });

  return {
    url: listeningUrl,
    createSignInLink:
      signInCodes && signInPage ? () => signInUrl(listeningUrl + signInPage, signInCodes.issue()) : undefined,
    metricsUrl: metrics?.url,
    leave: () => readiness.leave(),
    close: async () => {
      const cleanedUp = Promise.all([cleanUp.stop(), schedule?.stop(), webhooks?.stop()]);
      database.changes.close();
      connections.budgets.close();
      // Two seconds before the end, pending outbound requests fail, so that their clients still get a response.
      const abortTimer = setTimeout(outbound.close, drainMs - 2_000);
      await listener.close(drainMs);
      clearTimeout(abortTimer);
      await cleanedUp;
      mail?.close();
      await stopPublishing();
      const recorders = [refusals, authenticationRefusals, connections.reads, connections.usage];
      await Promise.all(recorders.map((each) => each.close()));
      await stream?.stop();
      await metrics?.close();
      await graphql.dispose();
      await checkpoints.close();
      await release();
    },
  };
}
