import type { AuditStreamTarget } from '../audit/stream-destination.ts';
import type { OidcSettings } from '../auth/oidc.ts';
import type { Secret } from '../common/secret.ts';
import type { AddressRange } from '../http/client-ip.ts';
import type { TlsFiles } from '../http/tls.ts';
import type { MailSettings } from '../outbound/mail.ts';
import type { HttpProxy } from '../outbound/proxy.ts';
import type { StreamLimits } from '../outbound/streamed-response.ts';
import type { MetricsEndpoint } from '../telemetry/metrics-server.ts';
import type { TracingSettings } from '../telemetry/tracing-settings.ts';
import type { CheckpointReceiver } from './checkpoint-receiver.ts';

/** The configuration of the server. Paths are absolute. */
export interface Config {
  production: boolean;
  port: number;
  host: string;
  /** The path prefix, such as `/connections`; empty for none. */
  basePath: string;
  /** The URL of the server for people and apps, without a slash at the end. Absent: where it listens. */
  publicUrl: string | undefined;
  /** Absent: HTTP without TLS. */
  tls: TlsFiles | undefined;
  /** The origins that CORS allows. */
  corsOrigins: ReadonlySet<string>;
  /** Absent: the embedded database in `dataDir`. */
  databaseUrl: Secret | undefined;
  /** The URL of the same database past a pooler. */
  databaseDirectUrl: Secret | undefined;
  /** The schema of the tables. Absent: the first one in the search path. */
  databaseSchema: string | undefined;
  databasePoolSize: number;
  databaseStatementTimeoutMs: number;
  dataDir: string;
  /** Absent: from the file, or generated in `dataDir`. */
  encryptionKeys: Secret | undefined;
  encryptionKeysFile: string | undefined;
  /** Absent: generated in `dataDir`, except in production. */
  bootstrapApiKey: Secret | undefined;
  /** Absent: only API keys are accepted. */
  oidc: OidcSettings | undefined;
  /** The `host:port` pairs that may use http, loopback or private addresses. */
  trustedInstanceHosts: ReadonlySet<string>;
  /** The domains that every other instance must belong to. Absent: any public host. */
  allowedInstanceHosts: readonly string[] | undefined;
  /** The HTTP proxy of outbound requests. Absent: none. */
  outboundProxy: HttpProxy | undefined;
  /** Whether the proxy resolves host names instead of this server. */
  outboundProxyResolves: boolean;
  /** The limits of requests and responses that are sent through connections. */
  streamLimits: StreamLimits;
  /** The domain whose subdomains are ids of connections. Absent: none. */
  proxyDomain: string | undefined;
  /** Whether the built-in fake Okta serves `https://example.okta.com`. */
  fakeOkta: boolean;
  graphiql: boolean;
  /** Whether rate limits apply. */
  rateLimits: boolean;
  /** The proxies whose `X-Forwarded-For` and `X-Request-Id` are trusted. */
  trustedProxies: readonly AddressRange[];
  /** The file for checkpoints of audit trails. Absent: only the log. */
  auditCheckpointFile: string | undefined;
  /** The HTTP receiver of checkpoints. Absent: none. */
  auditCheckpointReceiver: CheckpointReceiver | undefined;
  /** Where audit events are streamed to. Absent: nowhere. */
  auditStream: AuditStreamTarget | undefined;
  /** The days after which audit events are deleted. Absent: never. */
  auditRetentionDays: number | undefined;
  /** The mail server. Absent: no e-mails are sent. */
  mail: MailSettings | undefined;
  /** The days during which a deleted connection can be restored. */
  deletedRetentionDays: number;
  /** The days after which a key of this server is replaced; 0 for never. */
  connectionKeyRotationDays: number;
  /** Where metrics are served. Absent: nowhere. */
  metrics: MetricsEndpoint | undefined;
  /** Where traces are sent. Absent: nowhere. */
  tracing: TracingSettings | undefined;
  /** How long a server that stops says "not ready" before it closes its port. */
  shutdownDelayMs: number;
  logLevel: string;
  /** The files that hold values of variables, by the name of the variable. */
  secretFiles: ReadonlyMap<string, string>;
  /** Insecure settings of the environment; see `findEnvironmentWarnings`. */
  environmentRisks: readonly string[];
  /** The npm script that runs this process. Absent: none. */
  npmScript: string | undefined;
}
