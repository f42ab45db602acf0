import { startFakeOkta } from '../apps/okta/fake-okta.ts';
import { startAuditStream } from '../audit/audit-stream.ts';
import { startCheckpoints } from '../audit/checkpoints.ts';
import { isLoopbackHost } from '../common/loopback.ts';
import { openCheckpointReceiver } from '../config/checkpoint-receiver.ts';
import type { Config } from '../config/config.ts';
import { findTlsRisks } from '../config/security-warnings.ts';
import { startHttpServer } from '../http/http-server.ts';
import { openMailSender } from '../outbound/mail.ts';
import { openMetrics } from '../telemetry/open-metrics.ts';
import { openTracing } from '../telemetry/open-tracing.ts';
import { startBackgroundWork } from './background-work.ts';
import { createConnectionDeps } from './connection-deps.ts';
import { createHandler } from './create-handler.ts';
import { createOutboundClients } from './outbound-clients.ts';
import type { ServerDeps } from './server-deps.ts';

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
  const { auditCheckpointFile: file, auditCheckpointReceiver, host, port, production } = config;
  const receiver = auditCheckpointReceiver && openCheckpointReceiver(auditCheckpointReceiver, config);
  const checkpoints = startCheckpoints({ database, vault, log }, { file, receiver });
  const fakeOkta = config.fakeOkta ? await startFakeOkta() : undefined;
  const outbound = createOutboundClients(config, deps.outbound, fakeOkta?.url);
  const mail = config.mail && (await openMailSender(config.mail));
  let listeningUrl = '';
  const connections = createConnectionDeps(config, deps, outbound.apps, () => listeningUrl);
  const tracer = await openTracing(config, connections);
  const handler = createHandler(config, deps, connections, outbound.provider);
  const { readiness, createSignInLink } = handler;

  const release = () => Promise.all([outbound.close(), fakeOkta?.close(), tracer?.close()]);
  const abandon = async (error: unknown): Promise<never> => {
    await checkpoints.close();
    await release();
    throw error;
  };
  const listener = await startHttpServer({
    host,
    port,
    trustedProxies: config.trustedProxies,
    log,
    tracer,
    handle: handler.handle,
    tls: config.tls && { ...config.tls, findRisks: production ? findTlsRisks : undefined },
    // In production without TLS of its own, a proxy terminates TLS. On localhost, HSTS would make browsers require TLS on
    // every port.
    isOverTls: production || (config.tls !== undefined && !isLoopbackHost(host)),
  }).catch(abandon);
  listeningUrl = listener.url + config.basePath;

  const streamsAudit = config.auditStream !== undefined;
  const isReady = () => readiness.isReady();
  const metrics = await openMetrics(config, { ...connections, streamsAudit, isReady }).catch(
    async (error) => {
      await listener.close(0);
      return abandon(error);
    },
  );
  const stream = startAuditStream(connections, config.auditStream, deps.streamIntervalMs);
  const work = startBackgroundWork(config, deps, connections, { webhooks: outbound.webhooks, mail, tracer });

  return {
    url: listeningUrl,
    createSignInLink: createSignInLink && (() => createSignInLink(listeningUrl)),
    metricsUrl: metrics?.url,
    leave: () => readiness.leave(),
    close: async () => {
      const stopped = work.stop();
      database.changes.close();
      connections.budgets.close();
      // Two seconds before the end, pending outbound requests fail, so that their clients still get a response.
      const abortTimer = setTimeout(outbound.close, drainMs - 2_000);
      await listener.close(drainMs);
      clearTimeout(abortTimer);
      await stopped;
      mail?.close();
      await work.stopPublishing();
      const { refusals, reads, usage } = connections;
      const recorders = [refusals, handler.authenticationRefusals, reads, usage];
      await Promise.all(recorders.map((each) => each.close()));
      // After the recorders, whose events it delivers.
      await stream?.stop();
      await metrics?.close();
      await handler.dispose();
      await checkpoints.close();
      await release();
    },
  };
}
