import type { Environment } from './env-schema.ts';
import { operationDocs } from './operation-descriptions.ts';
import { tracingDocs } from './tracing-descriptions.ts';
import { fileInsteadOf, type VariableDocs } from './variable-docs.ts';

/** The documentation of every environment variable, from which `npm run docs` writes the configuration reference. */
export const environmentDocs: Readonly<Record<keyof Environment, VariableDocs>> = {
  NODE_ENV: {
    group: 'Server',
    description:
      '`production` turns on the checks under [Production](#production) and changes several defaults.',
  },
  PORT: { group: 'Server', description: 'The TCP port to listen on.' },
  HOST: {
    group: 'Server',
    description: 'The address or host name to listen on.',
    default: '`127.0.0.1`; in production every address (`::`, or `0.0.0.0` on a machine without IPv6)',
  },
  SHUTDOWN_DELAY_SECONDS: {
    group: 'Server',
    description:
      'For how many seconds a server that is told to stop answers `/health/ready` with 503 and all other requests as before, so that load balancers turn away, before it closes its port. See [Signals](production.md#signals).',
    default: '`0`; in production `5`',
  },
  BASE_PATH: {
    group: 'HTTP',
    description: 'The path under which the server answers, for a [reverse proxy](reverse-proxies.md).',
    example: '/connections',
    default: 'none: `/`',
  },
  PUBLIC_URL: {
    group: 'HTTP',
    description:
      'The URL at which people and apps reach the server, with `BASE_PATH`. Addresses for others are built from it, such as those of setup links.',
    example: 'https://connections.example.com',
    default: 'the address that the server listens on',
  },
  TLS_CERT: {
    group: 'HTTP',
    description:
      'The PEM file of the certificate with its chain. The server reads it again when it changes. Needs `TLS_KEY`. See [TLS](tls.md).',
    default: 'none: plain HTTP, for a proxy that terminates TLS',
  },
  TLS_KEY: { group: 'HTTP', description: 'The PEM file of the private key of `TLS_CERT`.', default: 'none' },
  CORS_ORIGINS: {
    group: 'HTTP',
    description:
      'The origins whose pages may call this server from browsers, separated by commas. `*` is refused. See [CORS](tls.md#cors).',
    example: 'https://app.example,https://admin.example',
    default: 'none',
  },
  TRUSTED_PROXIES: {
    group: 'HTTP',
    description:
      'The addresses and networks of the proxies whose `X-Forwarded-For` and `X-Request-Id` the server believes. See [reverse proxies](reverse-proxies.md).',
    example: '10.0.0.7,10.1.0.0/16,fd00::/8',
    default: 'none',
  },
  GRAPHIQL: {
    group: 'HTTP',
    description: '`on` or `off`: whether `/graphql` serves GraphiQL to browsers.',
    default: '`on`; in production `off`',
  },
  DATABASE_URL: {
    group: 'Database and storage',
    description:
      'The URL of the [PostgreSQL](postgresql.md#naming-the-database) database. `postgresql:///` takes everything from `PGHOST` and the other `PG` variables.',
    example: 'postgresql://user:password@db.example:5432/app_connections?sslmode=verify-full',
    default: 'none: an embedded database in `DATA_DIR`. Required in production',
  },
  DATABASE_URL_FILE: fileInsteadOf('DATABASE_URL', 'Database and storage'),
  DATABASE_DIRECT_URL: {
    group: 'Database and storage',
    description:
      'The URL of the same database past a [pooler](postgresql.md#poolers), for migrations and for notifications between servers.',
    example: 'postgresql://user:password@db.example:5432/app_connections?sslmode=verify-full',
    default: '`DATABASE_URL`; behind a pooler there are no notifications, and servers poll',
  },
  DATABASE_DIRECT_URL_FILE: fileInsteadOf('DATABASE_DIRECT_URL', 'Database and storage'),
  DATABASE_SCHEMA: {
    group: 'Database and storage',
    description: 'The [schema](postgresql.md#schema) of the tables. It has to exist.',
    default: 'the first existing schema in the search path, usually `public`',
  },
  DATABASE_POOL_SIZE: {
    group: 'Database and storage',
    description:
      'The most connections of the pool, from 5 to 999. The server has one more for health checks. See [Connections](postgresql.md#connections).',
  },
  DATABASE_STATEMENT_TIMEOUT_SECONDS: {
    group: 'Database and storage',
    description:
      'After how many seconds PostgreSQL cancels a statement of a request, lock waits included; from 2 to 9999. Migrations have no limit.',
  },
  DATA_DIR: {
    group: 'Database and storage',
    description: 'The folder of the embedded database and of generated keys.',
  },
  AUDIT_RETENTION_DAYS: {
    group: 'Database and storage',
    description: 'For how many days audit events are kept, at least 7. See [Retention](audit.md#retention).',
    default: 'they are kept for ever',
  },
  DELETED_RETENTION_DAYS: {
    group: 'Database and storage',
    description: 'For how many days a deleted connection can be restored before it is purged.',
  },
  ENCRYPTION_KEYS: {
    group: 'Encryption keys',
    description:
      'The root keys, separated by commas: `id:` and 32 bytes in base64, or `id:` and the ARN of an AWS KMS key. The first wraps new data keys; all unwrap. See [Key rotation](key-rotation.md).',
    example: 'k2:<base64>,k1:arn:aws:kms:eu-west-1:123456789012:key/…',
    default: 'generated into `DATA_DIR`. Required in production, unless `ENCRYPTION_KEYS_FILE` is set',
  },
  ENCRYPTION_KEYS_FILE: {
    group: 'Encryption keys',
    description:
      'A file with the root keys, separated by commas or line breaks. The server reads it again on `SIGHUP`. Excludes `ENCRYPTION_KEYS`.',
    default: 'none',
  },
  CONNECTION_KEY_ROTATION_DAYS: {
    group: 'Encryption keys',
    description:
      'After how many days a key that this server has made for a connection is [replaced](../service-apps.md#rotate-the-key); 0 for never.',
  },
  BOOTSTRAP_API_KEY: {
    group: 'Authentication',
    description:
      'The administrator key of the first organisation: 32 to 512 characters out of `A-Z`, `a-z`, `0-9`, `.`, `_`, `~` and `-`. It is used once, when the database has no organisation; a later change has no effect.',
    default: 'generated into `DATA_DIR` and printed once; in production never generated',
  },
  BOOTSTRAP_API_KEY_FILE: fileInsteadOf('BOOTSTRAP_API_KEY', 'Authentication'),
  OIDC_ISSUER: {
    group: 'Authentication',
    description:
      'The issuer (`iss`) whose access tokens the server accepts; https in production. Needs `OIDC_AUDIENCE`. See [Authentication](../api/authentication.md#access-tokens-of-an-identity-provider).',
    example: 'https://identity.example',
    default: 'none: only API keys',
  },
  OIDC_AUDIENCE: {
    group: 'Authentication',
    description: 'The audience (`aud`) that the access tokens must have.',
    example: 'https://connections.example',
    default: 'none',
  },
  OIDC_ORG_CLAIM: { group: 'Authentication', description: 'The claim with the id of the organisation.' },
  OIDC_SCOPE_CLAIM: { group: 'Authentication', description: 'The claim with the scopes.' },
  OIDC_PROJECTS_CLAIM: {
    group: 'Authentication',
    description: 'The claim with the ids of the projects that the token is limited to.',
  },
  OIDC_CLIENT_ID: {
    group: 'Authentication',
    description:
      'The public client with which the [dashboard](../dashboard.md#sign-in-with-an-identity-provider) signs in. Needs `OIDC_ISSUER` and `OIDC_AUDIENCE`.',
    default: 'none: the dashboard asks for an API key',
  },
  OIDC_SCOPES: {
    group: 'Authentication',
    description: 'The scopes that the dashboard asks for, separated by spaces; `openid` must be one of them.',
    default: '`openid`, every scope for connections, and `audit:read`',
  },
  TRUSTED_INSTANCE_HOSTS: {
    group: 'Outbound traffic',
    description:
      'Hosts with ports that may use http and private or loopback addresses, separated by commas. See [Outbound traffic](outbound-traffic.md).',
    example: 'okta.internal:443,localhost:8080',
    default: 'none',
  },
  ALLOWED_INSTANCE_HOSTS: {
    group: 'Outbound traffic',
    description: 'The domains that instance URLs may use, with their subdomains, separated by commas.',
    example: 'okta.com,oktapreview.com',
    default: 'none: every public host',
  },
  OUTBOUND_PROXY: {
    group: 'Outbound traffic',
    description: 'The HTTP proxy for all outbound connections. User and password are percent-encoded.',
    example: 'http://user:password@proxy.internal:3128',
    default: 'none: direct connections',
  },
  OUTBOUND_PROXY_FILE: fileInsteadOf('OUTBOUND_PROXY', 'Outbound traffic'),
  OUTBOUND_PROXY_RESOLVES: {
    group: 'Outbound traffic',
    description:
      '`on` or `off`: whether the proxy resolves host names instead of this server. Needs `OUTBOUND_PROXY` and `ALLOWED_INSTANCE_HOSTS`.',
  },
  SMTP_URL: {
    group: 'Outbound traffic',
    description:
      'The mail server for [notifications](../webhooks.md#notifications-for-people) by e-mail, also to [owners of connections](../webhooks.md#owners-of-connections). User and password are percent-encoded, and sent only over TLS.',
    example: 'smtps://user:password@mail.example.com:465',
    default: 'none: no e-mails are sent',
  },
  SMTP_URL_FILE: fileInsteadOf('SMTP_URL', 'Outbound traffic'),
  SMTP_FROM: {
    group: 'Outbound traffic',
    description: 'The sender of e-mails. Needs `SMTP_URL`.',
    example: 'app-connections@example.com',
    default: 'none',
  },
  EMAIL_RECIPIENT_DOMAINS: {
    group: 'Outbound traffic',
    description:
      'The domains to whose addresses, and to those of their subdomains, e-mails are sent, separated by commas. Others are refused as [owners](../webhooks.md#owners-of-connections) and targets, and get nothing if they are there already. Set it unless everybody who may change connections may send e-mails to any address. Needs `SMTP_URL`.',
    example: 'example.com',
    default: 'any',
  },
  PROXY_DOMAIN: {
    group: 'Outbound traffic',
    description:
      'The domain for [requests through connections](../using-connections.md) by host: with `connect.example.com`, `https://<connection id>.connect.example.com/api/v1/users` is a request to the app of the connection. Needs a wildcard DNS record and certificate.',
    example: 'connect.example.com',
    default: 'none: by path only',
  },
  PROXY_MAX_REQUEST_BYTES: {
    group: 'Outbound traffic',
    description: 'The largest body of a request through a connection, in bytes.',
  },
  PROXY_MAX_RESPONSE_BYTES: {
    group: 'Outbound traffic',
    description: 'The largest body of a response through a connection, in bytes.',
  },
  PROXY_IDLE_TIMEOUT_SECONDS: {
    group: 'Outbound traffic',
    description:
      'The longest time in which neither the app nor the caller of a request through a connection sends or takes a byte, in seconds.',
  },
  PROXY_TIMEOUT_SECONDS: {
    group: 'Outbound traffic',
    description: 'The time limit of a request through a connection with its response, in seconds.',
  },
  OKTA_STAND_IN: {
    group: 'Outbound traffic',
    description:
      '`on` or `off`: whether a fake Okta inside the server answers for `https://example.okta.com`. Every other host is the real one. Refused in production.',
    default: '`on`; in production `off`',
  },
  RATE_LIMITS: {
    group: 'Limits',
    description: '`on` or `off`: whether the server enforces [rate limits](../api/rate-limits.md).',
    default: '`off`; in production `on`',
  },
  ...operationDocs,
  ...tracingDocs,
};
