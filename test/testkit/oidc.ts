import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import {
  exportJWK,
  exportSPKI,
  generateKeyPair,
  importJWK,
  type JWK,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT,
} from 'jose';
import { Provider } from 'oidc-provider';
import type { OidcSettings } from '../../src/auth/oidc.ts';
import { readConfig } from '../../src/config/read-config.ts';
import { scopes } from '../../src/identity/caller.ts';
import { closeServer } from './close-server.ts';
import {
  type Accounts,
  createLoginHandler,
  createMemoryAdapter,
  createProviderConfiguration,
  dashboardClient,
  dashboardClientMetadata,
  noAccounts,
  renderLogoutForm,
} from './oidc-accounts.ts';

const audience = 'https://app-connections.example';
const clientSecret = 'a-secret-of-every-client-of-the-provider';

/** A signing key of the provider, with its public key. */
export interface SigningKey {
  /** The private key. */
  jwk: JWK & { kid: string; alg: string };
  publicPem: string;
}

/** Overrides how a token is signed. */
export interface Signing {
  key?: SigningKey | undefined;
  /** Header members to add or replace; undefined removes one. */
  header?: Partial<JWTHeaderParameters> | undefined;
}

/** An identity provider (oidc-provider) on 127.0.0.1. */
export interface TestProvider extends AsyncDisposable {
  /** `http://127.0.0.1:12345`. */
  issuer: string;
  /** The configuration of a server that accepts its tokens, with overrides. */
  settings(differing?: Record<`OIDC_${string}`, string>): { oidc: OidcSettings };
  /** Returns an access token that it issues to the client with this id, with additional claims. */
  issue(client: string, scope: string, claims: JWTPayload): Promise<string>;
  /** Signs a token like one of its own, valid for five minutes, with these claims replaced; undefined removes one. */
  forge(claims: JWTPayload, signing?: Signing): Promise<string>;
  /** Its signing keys, the default one first. */
  keys(): readonly [SigningKey, ...SigningKey[]];
  /** Changes settings of the accounts; omitted settings stay the same. */
  receive(people: Partial<Accounts>): void;
  /** Replaces the signing keys, also in the published key set. */
  rotate(...keys: [SigningKey, ...SigningKey[]]): void;
  /** Replaces the handler of one path; without a listener, restores it. */
  answer(path: string, listener?: RequestListener): void;
  /** The number of requests for a path. */
  requestCount(path: string): number;
  /** Closes its port. */
  stop(): Promise<void>;
  /** Listens on the same port again. */
  start(): Promise<void>;
}

/** Starts a provider with an RSA key. */
export async function startProvider(): Promise<TestProvider> {
  const [firstKey, claimsOf, requestCounts] = [
    await makeKey('RS256'),
    new Map<string, JWTPayload>(),
    new Map<string, number>(),
  ];
  let keys: readonly [SigningKey, ...SigningKey[]] = [firstKey];
  let callback: RequestListener;
  let people = noAccounts;
  let loginHandler: RequestListener;
  const memory = createMemoryAdapter((id) =>
    id === dashboardClient ? dashboardClientMetadata(people) : clientMetadata(id),
  );
  const instead = new Map<string, RequestListener>();
  const server = createServer((request, response) => {
    const { url: path = '' } = request;
    requestCounts.set(path, (requestCounts.get(path) ?? 0) + 1);
    (instead.get(path) ?? (path.startsWith('/interaction/') ? loginHandler : callback))(request, response);
  });
  // After Node's five seconds, a client of the same process that is busy meanwhile may send over a closed connection.
  server.keepAliveTimeout = 65_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the provider has no port');
  const issuer = `http://127.0.0.1:${address.port}`;

  const configure = () => {
    const jwks = { keys: keys.map(({ jwk }) => ({ ...jwk, use: 'sig' })) };
    const provider = new Provider(issuer, {
      ...createProviderConfiguration(() => people),
      ...tokenConfiguration(jwks, claimsOf, () => people),
      adapter: memory,
    });
    callback = provider.callback();
    loginHandler = createLoginHandler(provider);
  };
  configure();

  const stop = () => closeServer(server);

  return {
    issuer,
    settings(differing = {}) {
      const { oidc } = readConfig({ OIDC_ISSUER: issuer, OIDC_AUDIENCE: audience, ...differing });
      if (!oidc) throw new Error('the configuration has no identity provider');
      return { oidc };
    },
    async issue(client, scope, claims) {
      claimsOf.set(client, claims);
      const response = await fetch(`${issuer}/token`, {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: 'client_credentials',
          client_id: client,
          client_secret: clientSecret,
          scope,
          resource: audience,
        }),
      });
      const answer = await response.json();
      if (!response.ok) throw new Error(`The provider issued no token: ${JSON.stringify(answer)}`);
      return answer.access_token;
    },
    async forge(claims, { key = keys[0], header } = {}) {
      const now = Math.floor(Date.now() / 1_000);
      const usual = { iss: issuer, aud: audience, sub: 'robot', iat: now, exp: now + 300 };
      const { kid, alg } = key.jwk;
      return new SignJWT({ ...usual, ...claims })
        .setProtectedHeader({ alg, typ: 'at+jwt', kid, ...header })
        .sign(await importJWK(key.jwk, alg));
    },
    receive: (given) => {
      people = { ...people, ...given };
    },
    keys: () => keys,
    rotate(...next) {
      keys = next;
      configure();
    },
    answer: (path, listener) => void (listener ? instead.set(path, listener) : instead.delete(path)),
    requestCount: (path) => requestCounts.get(path) ?? 0,
    stop,
    async start() {
      server.listen(address.port, '127.0.0.1');
      await once(server, 'listening');
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** Generates a signing key. */
export async function makeKey(alg: string): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const kid = crypto.randomUUID();
  return {
    jwk: { ...(await exportJWK(privateKey)), kid, alg },
    publicPem: await exportSPKI(publicKey),
  };
}

/** Lets any client get a token for any resource, with this server's scopes and with `email`, which it ignores. */
function tokenConfiguration(
  jwks: { keys: JWK[] },
  claimsOf: ReadonlyMap<string, JWTPayload>,
  people: () => Accounts,
): object {
  return {
    jwks,
    ttl: { ClientCredentials: 300, AccessToken: () => people().lastsSeconds },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      rpInitiatedLogout: { enabled: true, logoutSource: renderLogoutForm },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: async (_: object, resource: string) => ({
          audience: resource,
          scope: [...scopes, 'email'].join(' '),
          accessTokenFormat: 'jwt',
        }),
      },
    },
    extraTokenClaims: async (_: object, { clientId }: { clientId: string }) =>
      clientId === dashboardClient ? people().claims : claimsOf.get(clientId),
  };
}

function clientMetadata(id: string): object {
  return {
    client_id: id,
    client_secret: clientSecret,
    token_endpoint_auth_method: 'client_secret_post',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  };
}
