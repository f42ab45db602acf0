import { resolve } from 'node:path';
import { StartupError } from '../common/errors.ts';
import { isLoopbackHost } from '../common/loopback.ts';
import { addEnvironment, InvalidConnectionString } from '../database/connection-string.ts';
import type { TlsFiles } from '../http/tls.ts';
import { checkAuditStream } from './audit-stream.ts';
import { parseCheckpointReceiver } from './checkpoint-receiver.ts';
import type { Config } from './config.ts';
import { type Environment, environment } from './env-schema.ts';
import { readMetricsEndpoint } from './metrics.ts';
import { readOidcSettings } from './oidc.ts';
import { readSecretFiles } from './secret-files.ts';
import { findEnvironmentWarnings } from './security-warnings.ts';
import { readTracingSettings } from './tracing.ts';

/**
 * Reads the configuration from the environment.
 *
 * @throws StartupError with one line that names every variable that is missing or wrong, and repeats no value
 */
export function readConfig(variables: Variables = process.env): Config {
  // Shells and compose files express an unset variable as an empty one.
  const given = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== ''));
  const { variables: defined, files } = readSecretFiles(given);
  const data = parseEnvironment(defined, files);
  const production = data.NODE_ENV === 'production';
  assertCombinations(data);
  if (production) assertProduction(data, defined);
  checkAuditStream(data.AUDIT_STREAM, production);
  return {
    production,
    port: data.PORT,
    host: data.HOST?.toLowerCase() ?? (production ? '::' : '127.0.0.1'),
    basePath: data.BASE_PATH,
    publicUrl: data.PUBLIC_URL,
    tls: readTlsFiles(data),
    corsOrigins: parseCorsOrigins(data, production),
    databaseUrl: data.DATABASE_URL,
    databaseDirectUrl: data.DATABASE_DIRECT_URL,
    databaseSchema: data.DATABASE_SCHEMA,
    databasePoolSize: data.DATABASE_POOL_SIZE,
    databaseStatementTimeoutMs: data.DATABASE_STATEMENT_TIMEOUT_SECONDS * 1_000,
    dataDir: resolve(data.DATA_DIR),
    encryptionKeys: data.ENCRYPTION_KEYS,
    encryptionKeysFile: data.ENCRYPTION_KEYS_FILE,
    bootstrapApiKey: data.BOOTSTRAP_API_KEY,
    oidc: readOidcSettings(data, production),
    trustedInstanceHosts: new Set(data.TRUSTED_INSTANCE_HOSTS),
    allowedInstanceHosts: data.ALLOWED_INSTANCE_HOSTS,
    outboundProxy: data.OUTBOUND_PROXY,
    outboundProxyResolves: parseProxyResolves(data),
    streamLimits: {
      maxRequestBytes: data.PROXY_MAX_REQUEST_BYTES,
      maxResponseBytes: data.PROXY_MAX_RESPONSE_BYTES,
      idleTimeoutMs: data.PROXY_IDLE_TIMEOUT_SECONDS * 1_000,
      timeoutMs: data.PROXY_TIMEOUT_SECONDS * 1_000,
    },
    proxyDomain: data.PROXY_DOMAIN,
    fakeOkta: data.OKTA_STAND_IN ? data.OKTA_STAND_IN === 'on' : !production,
    graphiql: data.GRAPHIQL ? data.GRAPHIQL === 'on' : !production,
    rateLimits: data.RATE_LIMITS ? data.RATE_LIMITS === 'on' : production,
    trustedProxies: data.TRUSTED_PROXIES,
    auditCheckpointFile:
      data.AUDIT_CHECKPOINT_FILE ??
      (production ? undefined : resolve(data.DATA_DIR, 'audit-checkpoints.jsonl')),
    auditCheckpointReceiver: parseCheckpointReceiver(data, production),
    auditStream: data.AUDIT_STREAM,
    auditRetentionDays: data.AUDIT_RETENTION_DAYS,
    mail: readMailSettings(data),
    deletedRetentionDays: data.DELETED_RETENTION_DAYS,
    connectionKeyRotationDays: data.CONNECTION_KEY_ROTATION_DAYS,
    metrics: readMetricsEndpoint(data),
    tracing: readTracingSettings(data),
    shutdownDelayMs: (data.SHUTDOWN_DELAY_SECONDS ?? (production ? 5 : 0)) * 1_000,
    logLevel: data.LOG_LEVEL,
    secretFiles: files,
    environmentRisks: findEnvironmentWarnings(variables),
    npmScript: variables.npm_lifecycle_event,
  };
}

type Variables = Readonly<Record<string, string | undefined>>;

/** @throws StartupError that names every variable whose value breaks its rule */
function parseEnvironment(defined: Variables, files: ReadonlyMap<string, string>): Environment {
  /** The subject of a message about a value. */
  const nameValue = (name: string) =>
    files.has(name) ? `${name}_FILE ${files.get(name)}: its content` : name;
  const quoted = Object.keys(environment.shape).filter((name) => /^(["']).*\1$/.test(defined[name] ?? ''));
  if (quoted.length > 0) {
    throw new StartupError(
      `${quoted.map(nameValue).join(' and ')} must not have quotation marks around the value`,
    );
  }
  const { success, data, error } = environment.safeParse(completeDatabaseUrl(defined, nameValue));
  if (success) return data;
  throw new StartupError(
    error.issues.map(({ path, message }) => `${nameValue(path.join('.'))} ${message}`).join('; '),
  );
}

/** @throws StartupError if variables exclude or need each other */
function assertCombinations(data: Environment): void {
  if (data.ENCRYPTION_KEYS && data.ENCRYPTION_KEYS_FILE) {
    throw new StartupError(
      'ENCRYPTION_KEYS and ENCRYPTION_KEYS_FILE exclude each other; set only one of them',
    );
  }
  if (data.DATABASE_DIRECT_URL && !data.DATABASE_URL)
    throw new StartupError('DATABASE_DIRECT_URL needs DATABASE_URL');
  if (data.DATABASE_SCHEMA && !data.DATABASE_URL)
    throw new StartupError('DATABASE_SCHEMA needs DATABASE_URL');
}

/** @throws StartupError if NODE_ENV=production lacks a variable, or does not allow one */
function assertProduction(data: Environment, defined: Variables): void {
  const missing = [
    ...(data.DATABASE_URL ? [] : [hasPgVariables(defined) ? emptyUrl : 'DATABASE_URL']),
    ...(data.ENCRYPTION_KEYS || data.ENCRYPTION_KEYS_FILE ? [] : ['ENCRYPTION_KEYS']),
  ];
  if (missing.length > 0) throw new StartupError(`NODE_ENV=production needs ${missing.join(' and ')}`);
  if (data.OKTA_STAND_IN === 'on')
    throw new StartupError('OKTA_STAND_IN=on is not allowed when NODE_ENV=production');
}

const emptyUrl = 'DATABASE_URL (postgresql:/// uses PGHOST and the other PG variables)';

function hasPgVariables({ PGHOST, PGDATABASE }: Variables): boolean {
  return Boolean(PGHOST || PGDATABASE);
}

/** Adds the variables of libpq to DATABASE_URL. Alone they do not choose PostgreSQL: they may be set for other programs. */
function completeDatabaseUrl(variables: Variables, nameValue: (name: string) => string): Variables {
  const { DATABASE_URL: url } = variables;
  if (!url?.startsWith('postgres')) return variables;
  try {
    return { ...variables, DATABASE_URL: addEnvironment(url, variables) };
  } catch (error) {
    if (error instanceof InvalidConnectionString)
      throw new StartupError(`${nameValue('DATABASE_URL')} ${error.message}`);
    throw error;
  }
}

/** Requires a list of hosts: otherwise callers could make the proxy resolve any name, and reach its internal network. */
function parseProxyResolves(data: Environment): boolean {
  if (data.OUTBOUND_PROXY_RESOLVES === 'off') return false;
  const missing = [
    ...(data.OUTBOUND_PROXY ? [] : ['OUTBOUND_PROXY']),
    ...(data.ALLOWED_INSTANCE_HOSTS ? [] : ['ALLOWED_INSTANCE_HOSTS']),
  ];
  if (missing.length > 0) throw new StartupError(`OUTBOUND_PROXY_RESOLVES=on needs ${missing.join(' and ')}`);
  return true;
}

function readMailSettings(data: Environment): Config['mail'] {
  const { SMTP_URL: url, SMTP_FROM: from, EMAIL_RECIPIENT_DOMAINS: recipientDomains } = data;
  if (url && from) return { url, from, recipientDomains };
  if (!url && recipientDomains) throw new StartupError('EMAIL_RECIPIENT_DOMAINS needs SMTP_URL');
  if (!url && !from) return undefined;
  throw new StartupError(url ? 'SMTP_URL needs SMTP_FROM' : 'SMTP_FROM needs SMTP_URL');
}

function readTlsFiles({ TLS_CERT: cert, TLS_KEY: key }: Environment): TlsFiles | undefined {
  if (!cert && !key) return undefined;
  if (!cert || !key) throw new StartupError('TLS_CERT and TLS_KEY must be set together');
  return { cert: resolve(cert), key: resolve(key) };
}

/** Rejects http:// origins in production: a man-in-the-middle could script such a page. */
function parseCorsOrigins({ CORS_ORIGINS: origins }: Environment, production: boolean): ReadonlySet<string> {
  const isSafe = (origin: string) => {
    const { protocol, hostname } = new URL(origin);
    return protocol === 'https:' || isLoopbackHost(hostname);
  };
  if (production && !origins.every(isSafe)) {
    throw new StartupError(
      'CORS_ORIGINS must start with https:// when NODE_ENV=production, except for loopback addresses',
    );
  }
  return new Set(origins);
}
