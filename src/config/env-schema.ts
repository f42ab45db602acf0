import { domainToASCII } from 'node:url';
import { z } from 'zod';
import { assertChecksum } from '../auth/api-keys.ts';
import type { Secret } from '../common/secret.ts';
import { type AddressRange, parseRange } from '../http/client-ip.ts';
import { defaultStreamLimits } from '../outbound/create-outbound.ts';
import { parseProxy } from '../outbound/proxy.ts';
import { auditStream } from './audit-stream.ts';
import {
  bearerToken,
  databaseUrl,
  days,
  file,
  onOff,
  parsed,
  parseList,
  positiveInteger,
  secret,
} from './env-types.ts';
import { metricsVariables } from './metrics.ts';
import { oidcVariables } from './oidc.ts';
import { tracingVariables } from './tracing.ts';

/** The format of a configured API key, which must fit a header and a page. */
export const apiKeyPattern = /^[A-Za-z0-9._~-]{32,512}$/;

/** Domain names, separated by commas. */
function domains(error: string) {
  return (
    z
      .string()
      .transform((list) => list.split(',').map((entry) => domainToASCII(entry.trim())))
      // The last label of a host name contains a letter; otherwise it is the end of an IP address.
      .refine((names) => names.every((name) => /^([a-z0-9_-]+\.)*[a-z0-9-]*[a-z][a-z0-9-]*$/.test(name)), {
        error,
      })
  );
}

/** The schema of the environment variables. Its messages repeat no value. */
export const environment = z.object({
  NODE_ENV: z
    .enum(['development', 'test', 'production'], { error: 'must be development, test or production' })
    .default('development'),
  PORT: z
    .string()
    .regex(/^\d{1,5}$/, { error: 'must be a port number' })
    .transform(Number)
    .refine((port) => port <= 65_535, { error: 'must be at most 65535' })
    .default(4000),
  HOST: z
    .string()
    .trim()
    .regex(/^([\w.-]+|[\da-f:.]+(%[\w.-]+)?)$/i, {
      error:
        'must be an address or a host name, without https://, port or brackets: 127.0.0.1, 0.0.0.0 or ::',
    })
    .optional(),
  BASE_PATH: z
    .string()
    .default('')
    .transform((path) => path.replace(/\/$/, ''))
    .refine(isBasePath, {
      error:
        'must be a path such as /connections, with letters, digits, ".", "_", "~" and "-"; it must not start with /api, /assets, /graphql, /health or /sign-in',
    }),
  PUBLIC_URL: z
    .url({
      protocol: /^https?$/,
      error: 'must be the URL of this server, such as https://connections.example.com',
    })
    .refine((url) => !/[?#@]/.test(url), { error: 'must be a URL without a user, a query or a fragment' })
    .transform((url) => url.replace(/\/+$/, ''))
    .optional(),
  TLS_CERT: z.string().optional(),
  TLS_KEY: z.string().optional(),
  CORS_ORIGINS: z
    .string()
    .default('')
    .transform(parseList)
    .refine((origins) => !origins.some((origin) => origin.includes('*')), {
      error: 'must name every origin; "*" is not allowed',
      abort: true,
    })
    .refine((origins) => origins.every(isOrigin), {
      error: 'must be origins as browsers send them, without a path: https://app.example,https://…',
    }),
  DATABASE_URL: databaseUrl.optional(),
  DATABASE_URL_FILE: file.optional(),
  DATABASE_DIRECT_URL: databaseUrl.optional(),
  DATABASE_DIRECT_URL_FILE: file.optional(),
  DATABASE_SCHEMA: z
    .string()
    .regex(/^[^."\0]{1,63}$/, { error: 'must be the name of a schema, without quotation marks and dots' })
    .optional(),
  DATABASE_POOL_SIZE: z
    .string()
    .regex(/^\d{1,3}$/, { error: 'must be a number of connections' })
    .transform(Number)
    .refine((size) => size >= 5, { error: 'must be at least 5' })
    .default(10),
  DATABASE_STATEMENT_TIMEOUT_SECONDS: z
    .string()
    .regex(/^\d{1,4}$/, { error: 'must be a number of seconds' })
    .transform(Number)
    .refine((seconds) => seconds >= 2, { error: 'must be at least 2' })
    .default(10),
  DATA_DIR: z.string().min(1, { error: 'must be a folder' }).default('.data'),
  ENCRYPTION_KEYS: secret.optional(),
  ENCRYPTION_KEYS_FILE: file.optional(),
  BOOTSTRAP_API_KEY: z
    .string()
    .regex(apiKeyPattern, {
      error: 'must be 32 to 512 characters out of A-Z, a-z, 0-9, ".", "_", "~" and "-"',
    })
    .pipe(secret)
    .refine(hasValidChecksum, {
      error: 'starts with ack_ but is not a complete API key; copy it again, or choose another',
    })
    .optional(),
  BOOTSTRAP_API_KEY_FILE: file.optional(),
  ...oidcVariables,
  TRUSTED_INSTANCE_HOSTS: z
    .string()
    .default('')
    .transform(parseList)
    .refine((hosts) => hosts.every((host) => /^(\[[0-9a-f:]+\]|[a-z0-9.-]+):\d{1,5}$/.test(host)), {
      error: 'must be host:port,host:port…',
    }),
  ALLOWED_INSTANCE_HOSTS: domains(
    'must be host names without https://, port or *, such as okta.com,oktapreview.com',
  ).optional(),
  OUTBOUND_PROXY: parsed(
    parseProxy,
    'must be http://host:port or http://user:password@host:port, with %-encoding in user and password',
  ).optional(),
  OUTBOUND_PROXY_FILE: file.optional(),
  OUTBOUND_PROXY_RESOLVES: onOff.default('off'),
  PROXY_DOMAIN: z
    .string()
    .trim()
    .toLowerCase()
    .regex(/^([a-z0-9-]+\.)+[a-z0-9-]*[a-z][a-z0-9-]*$/, {
      error: 'must be a domain without https://, port or *, such as connect.example.com',
    })
    .optional(),
  PROXY_MAX_REQUEST_BYTES: positiveInteger('a number of bytes').default(defaultStreamLimits.maxRequestBytes),
  PROXY_MAX_RESPONSE_BYTES: positiveInteger('a number of bytes').default(
    defaultStreamLimits.maxResponseBytes,
  ),
  PROXY_IDLE_TIMEOUT_SECONDS: positiveInteger('a number of seconds').default(
    defaultStreamLimits.idleTimeoutMs / 1_000,
  ),
  PROXY_TIMEOUT_SECONDS: positiveInteger('a number of seconds').default(
    defaultStreamLimits.timeoutMs / 1_000,
  ),
  OKTA_STAND_IN: onOff.optional(),
  GRAPHIQL: onOff.optional(),
  RATE_LIMITS: onOff.optional(),
  TRUSTED_PROXIES: z
    .string()
    .default('')
    .transform((list) =>
      list
        .split(',')
        .map((entry) => entry.trim())
        .filter(Boolean)
        .map(parseRange),
    )
    .refine((ranges): ranges is AddressRange[] => !ranges.includes(undefined), {
      error: 'must be addresses or networks: 10.0.0.7,10.1.0.0/16,fd00::/8',
    }),
  AUDIT_CHECKPOINT_FILE: file.optional(),
  AUDIT_CHECKPOINT_URL: z
    .url({ protocol: /^https?$/, error: 'must be an https:// URL' })
    .refine((url) => !/[@#]/.test(url), {
      error: 'must be a URL without a user and a fragment; give the secret in AUDIT_CHECKPOINT_TOKEN',
    })
    .optional(),
  AUDIT_CHECKPOINT_TOKEN: bearerToken.optional(),
  AUDIT_CHECKPOINT_TOKEN_FILE: file.optional(),
  AUDIT_STREAM: auditStream.optional(),
  AUDIT_RETENTION_DAYS: days.refine((count) => count >= 7, { error: 'must be at least 7 days' }).optional(),
  SMTP_URL: z
    .string()
    .refine((text) => /^smtps?:$/.test(URL.parse(text)?.protocol ?? ''), {
      error: 'must be smtp://host:port or smtps://host:port, with %-encoding in user and password',
    })
    .pipe(secret)
    .optional(),
  SMTP_URL_FILE: file.optional(),
  SMTP_FROM: z.email({ error: 'must be an e-mail address' }).optional(),
  EMAIL_RECIPIENT_DOMAINS: domains(
    'must be domains without @ or *, such as example.com,example.org',
  ).optional(),
  DELETED_RETENTION_DAYS: days.default(30),
  CONNECTION_KEY_ROTATION_DAYS: days.default(90),
  ...metricsVariables,
  ...tracingVariables,
  SHUTDOWN_DELAY_SECONDS: z
    .string()
    .regex(/^\d{1,3}$/, { error: 'must be a number of seconds, at most 999' })
    .transform(Number)
    .optional(),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
      error: 'must be fatal, error, warn, info, debug, trace or silent',
    })
    .default('info'),
});

function hasValidChecksum(key: Secret): boolean {
  try {
    assertChecksum(key);
    return true;
  } catch {
    return false;
  }
}

/** Rejects the server's own paths, which would be ambiguous under a base path of the same name. */
function isBasePath(path: string): boolean {
  return (
    /^(\/(?!\.{1,2}(\/|$))[\w.~-]+)*$/.test(path) &&
    !/^\/(api|assets|graphql|health|sign-in)(\/|$)/.test(path)
  );
}

function isOrigin(text: string): boolean {
  return /^https?:/.test(text) && URL.parse(text)?.origin === text;
}

/** The parsed environment variables. */
export type Environment = z.output<typeof environment>;
