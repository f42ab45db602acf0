import type { OidcSettings } from '../auth/oidc.ts';
import type { Secret } from '../common/secret.ts';
import type { AddressRange } from '../http/client-ip.ts';
import type { TlsFiles } from '../http/tls.ts';
import type { HttpProxy } from '../outbound/proxy.ts';
import type { CheckpointReceiver } from './checkpoint-receiver.ts';

/** How the server is to run. */
export interface Config {
  production: boolean;
  port: number;
  host: string;
  /** Under which everything is: `/connections`; empty: under the root. */
  basePath: string;
  /** Absolute; absent: HTTP without TLS. */
  tls: TlsFiles | undefined;
  /** The origins of pages elsewhere that may use this server. */
  corsOrigins: ReadonlySet<string>;
  /** Absent: the embedded database in `dataDir`. */
  databaseUrl: Secret | undefined;
  /** Absolute. */
  dataDir: string;
  /** Absent: in the file, or else generated into `dataDir`. */
  encryptionKeys: Secret | undefined;
  /** Absolute. */
  encryptionKeysFile: string | undefined;
  /** Absent: generated into `dataDir`, except in production. */
  bootstrapApiKey: Secret | undefined;
  /** Absent: only API keys let anybody in. */
  oidc: OidcSettings | undefined;
  /** `host:port` that may be http, loopback or private. */
  trustedInstanceHosts: ReadonlySet<string>;
  /** Names under which every other instance has to be. Absent: any public host. */
  allowedInstanceHosts: readonly string[] | undefined;
  /** Through which everything goes that leaves this machine. Absent: nothing is between. */
  outboundProxy: HttpProxy | undefined;
  /** Whether that proxy looks names up, and this server does not. */
  outboundProxyResolves: boolean;
  /** Whether `https://example.okta.com` is the fake Okta inside this server. */
  fakeOkta: boolean;
  graphiql: boolean;
  /** Whether callers may be told that they ask too fast. */
  rateLimits: boolean;
  /** The proxies that are believed when they say whom they ask for. */
  trustedProxies: readonly AddressRange[];
  /** Absolute; where checkpoints of audit trails go besides the log. */
  auditCheckpointFile: string | undefined;
  /** Where checkpoints go by HTTP. Absent: nowhere. */
  auditCheckpointReceiver: CheckpointReceiver | undefined;
  /** How long a deleted connection can be restored. */
  deletedRetentionDays: number;
  logLevel: string;
  /** What else is in the environment that makes the server easy to break into; see `findEnvironmentWarnings`. */
  environmentRisks: readonly string[];
  /** The npm script that runs this process, as npm says; absent: none does. */
  npmScript: string | undefined;
}
