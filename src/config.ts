import { resolve } from 'node:path';
import { domainToASCII } from 'node:url';
import { z } from 'zod';
import { assertNotMistyped } from './access/api-keys.ts';
import type { OidcSettings } from './access/oidc.ts';
import { StartError } from './errors.ts';
import { type AddressRange, parseRange } from './http/address.ts';
import { isLoopback } from './http/own-name.ts';
import type { TlsFiles } from './http/tls.ts';
import { type HttpProxy, parseProxy } from './outbound/proxy.ts';
import { Secret } from './secrets/secret.ts';

const secret = z.string().transform((text) => new Secret(text));
const entries = (list: string) =>
  list
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .filter(Boolean);
const onOff = z.enum(['on', 'off'], { error: 'must be "on" or "off"' });

/** What an API key looks like that can be given by hand: it goes into a header and into a page. */
export const apiKeyPattern = /^[A-Za-z0-9._~-]{32,512}$/;

const environment = z.object({
  NODE_ENV: z
    .enum(['development', 'test', 'production'], { error: 'must be development, test or production' })
    .default('development'),
  PORT: z
    .string()
    .regex(/^\d{1,5}$/, { error: 'must be a port number' })
    .transform(Number)
    .refine((port) => port <= 65_535, { error: 'must be at most 65535' })
    .default(4000),
  HOST: z.string().min(1, { error: 'must be an address or a host name' }).optional(),
  TLS_CERT: z.string().optional(),
  TLS_KEY: z.string().optional(),
  CORS_ORIGINS: z
    .string()
    .default('')
    .transform(entries)
    .refine((origins) => !origins.some((origin) => origin.includes('*')), {
      error: 'must name every origin; "*" would let in pages that nobody has named',
      abort: true,
    })
    .refine((origins) => origins.every(isOrigin), {
      error: 'must be origins as browsers send them, without a path: https://app.example,https://…',
    }),
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\/./, { error: 'must start with postgresql://' })
    .pipe(secret)
    .optional(),
  DATA_DIR: z.string().min(1, { error: 'must be a folder' }).default('.data'),
  ENCRYPTION_KEYS: secret.optional(),
  ENCRYPTION_KEYS_FILE: z
    .string()
    .transform((path) => resolve(path))
    .optional(),
  BOOTSTRAP_API_KEY: z
    .string()
    .regex(apiKeyPattern, {
      error: 'must be 32 to 512 characters out of A-Z, a-z, 0-9, ".", "_", "~" and "-"',
    })
    .pipe(secret)
    .refine(isWhole, {
      error:
        'looks like a key that starts with ack_ but is not a whole one; copy it again, or choose another',
    })
    .optional(),
  OIDC_ISSUER: z
    .url({ protocol: /^https?$/, error: 'must be the URL of the identity provider, as its tokens name it' })
    .refine((url) => !/[?#@]/.test(url), { error: 'must be a URL without a user, a query or a fragment' })
    .optional(),
  OIDC_AUDIENCE: z.string().optional(),
  OIDC_ORG_CLAIM: z.string().default('org'),
  OIDC_SCOPE_CLAIM: z.string().default('scope'),
  OIDC_PROJECTS_CLAIM: z.string().default('projects'),
  TRUSTED_INSTANCE_HOSTS: z
    .string()
    .default('')
    .transform(entries)
    .refine((hosts) => hosts.every((host) => /^(\[[0-9a-f:]+\]|[a-z0-9.-]+):\d{1,5}$/.test(host)), {
      error: 'must be host:port,host:port…',
    }),
  ALLOWED_INSTANCE_HOSTS: z
    .string()
    .transform((list) => list.split(',').map((entry) => domainToASCII(entry.trim())))
    // The last part of a name has a letter in it: without one, it would be the end of an address.
    .refine((names) => names.every((name) => /^([a-z0-9_-]+\.)*[a-z0-9-]*[a-z][a-z0-9-]*$/.test(name)), {
      error: 'must be host names without https://, port and *, such as okta.com,oktapreview.com',
    })
    .optional(),
  OUTBOUND_PROXY: z
    .string()
    .transform((text, context) => {
      const proxy = parseProxy(text);
      if (proxy) return proxy;
      context.addIssue({
        code: 'custom',
        message:
          'must be http://host:port or http://user:password@host:port, with %-encoding in user and password',
      });
      return z.NEVER;
    })
    .optional(),
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
  DELETED_RETENTION_DAYS: z
    .string()
    .regex(/^\d{1,4}$/, { error: 'must be a number of days' })
    .transform(Number)
    .default(30),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
      error: 'must be fatal, error, warn, info, debug, trace or silent',
    })
    .default('info'),
});

function isWhole(key: Secret): boolean {
  try {
    assertNotMistyped(key);
    return true;
  } catch {
    return false;
  }
}

function isOrigin(text: string): boolean {
  return /^https?:/.test(text) && URL.parse(text)?.origin === text;
}

/** How the server is to run. */
export interface Config {
  production: boolean;
  port: number;
  host: string;
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
  /** Whether `https://example.okta.com` is answered by the built-in stand-in. */
  oktaStandIn: boolean;
  graphiql: boolean;
  /** Whether callers may be told that they ask too fast. */
  rateLimits: boolean;
  /** The proxies that are believed when they say whom they ask for. */
  trustedProxies: readonly AddressRange[];
  /** How long a deleted connection can be restored. */
  deletedRetentionDays: number;
  logLevel: string;
}

/**
 * Reads the configuration from the environment.
 *
 * @throws StartError with one line that names every variable that is missing or wrong, and repeats no value
 */
export function readConfig(variables: Readonly<Record<string, string | undefined>> = process.env): Config {
  // An empty variable is how shells and compose files say "not set".
  const given = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== ''));
  const { success, data, error } = environment.safeParse(given);
  if (!success) {
    throw new StartError(error.issues.map(({ path, message }) => `${path.join('.')} ${message}`).join('; '));
  }
  if (data.ENCRYPTION_KEYS && data.ENCRYPTION_KEYS_FILE) {
    throw new StartError('ENCRYPTION_KEYS and ENCRYPTION_KEYS_FILE exclude each other; set one of them');
  }
  const production = data.NODE_ENV === 'production';
  if (production) {
    const missing = [
      ...(data.DATABASE_URL ? [] : ['DATABASE_URL']),
      ...(data.ENCRYPTION_KEYS || data.ENCRYPTION_KEYS_FILE ? [] : ['ENCRYPTION_KEYS']),
    ];
    if (missing.length > 0) throw new StartError(`NODE_ENV=production needs ${missing.join(' and ')}`);
    if (data.OKTA_STAND_IN === 'on')
      throw new StartError('OKTA_STAND_IN=on is refused when NODE_ENV=production');
  }
  return {
    production,
    port: data.PORT,
    host: data.HOST?.toLowerCase() ?? (production ? '0.0.0.0' : '127.0.0.1'),
    tls: tlsOf(data),
    corsOrigins: corsOriginsOf(data, production),
    databaseUrl: data.DATABASE_URL,
    dataDir: resolve(data.DATA_DIR),
    encryptionKeys: data.ENCRYPTION_KEYS,
    encryptionKeysFile: data.ENCRYPTION_KEYS_FILE,
    bootstrapApiKey: data.BOOTSTRAP_API_KEY,
    oidc: oidcOf(data, production),
    trustedInstanceHosts: new Set(data.TRUSTED_INSTANCE_HOSTS),
    allowedInstanceHosts: data.ALLOWED_INSTANCE_HOSTS,
    outboundProxy: data.OUTBOUND_PROXY,
    oktaStandIn: data.OKTA_STAND_IN ? data.OKTA_STAND_IN === 'on' : !production,
    graphiql: data.GRAPHIQL ? data.GRAPHIQL === 'on' : !production,
    rateLimits: data.RATE_LIMITS ? data.RATE_LIMITS === 'on' : production,
    trustedProxies: data.TRUSTED_PROXIES,
    deletedRetentionDays: data.DELETED_RETENTION_DAYS,
    logLevel: data.LOG_LEVEL,
  };
}

function tlsOf({ TLS_CERT: cert, TLS_KEY: key }: z.output<typeof environment>): TlsFiles | undefined {
  if (!cert && !key) return undefined;
  if (!cert || !key) throw new StartError('TLS_CERT and TLS_KEY are needed together, or neither of them');
  return { cert: resolve(cert), key: resolve(key) };
}

/** Whoever is between a page that came without TLS and its browser can make it ask for anything. */
function corsOriginsOf(
  { CORS_ORIGINS: origins }: z.output<typeof environment>,
  production: boolean,
): ReadonlySet<string> {
  const isSafe = (origin: string) => {
    const { protocol, hostname } = new URL(origin);
    return protocol === 'https:' || isLoopback(hostname.replace(/^\[|\]$/g, ''));
  };
  if (production && !origins.every(isSafe)) {
    throw new StartError(
      'CORS_ORIGINS must start with https:// when NODE_ENV=production, except for pages of this machine',
    );
  }
  return new Set(origins);
}

function oidcOf(data: z.output<typeof environment>, production: boolean): OidcSettings | undefined {
  const { OIDC_ISSUER: issuer, OIDC_AUDIENCE: audience } = data;
  if (!issuer && !audience) return undefined;
  if (!issuer || !audience) {
    throw new StartError('OIDC_ISSUER and OIDC_AUDIENCE are needed together, or neither of them');
  }
  if (production && !issuer.startsWith('https:')) {
    throw new StartError('OIDC_ISSUER must start with https:// when NODE_ENV=production');
  }
  return {
    issuer,
    audience,
    orgClaim: data.OIDC_ORG_CLAIM,
    scopeClaim: data.OIDC_SCOPE_CLAIM,
    projectsClaim: data.OIDC_PROJECTS_CLAIM,
  };
}
