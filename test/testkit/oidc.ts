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

/** A signing key of the provider, and what anybody can know of it. */
export interface SigningKey {
  /** With the private part. */
  jwk: JWK & { kid: string; alg: string };
  publicPem: string;
}

/** How a token is to be signed, where that is not as the provider would. */
export interface Signing {
  key?: SigningKey | undefined;
  /** What its header says besides or instead; undefined leaves something out. */
  header?: Partial<JWTHeaderParameters> | undefined;
}

/** An identity provider (oidc-provider) on 127.0.0.1. */
export interface TestProvider extends AsyncDisposable {
  /** `http://127.0.0.1:12345`. */
  issuer: string;
  /** What a server is configured with that accepts its tokens, but for what is given. */
  settings(differing?: Record<`OIDC_${string}`, string>): { oidc: OidcSettings };
  /** An access token that it issues to a client of this id, with more claims besides its own. */
  issue(client: string, scope: string, claims: JWTPayload): Promise<string>;
  /** A token as it would issue one, for five minutes, but for these claims; undefined leaves one out. */
  forge(claims: JWTPayload, signing?: Signing): Promise<string>;
  /** The keys that it signs with, the usual one first. */
  keys(): readonly [SigningKey, ...SigningKey[]];
  /** From now on people who come to it are given this; what is left out stays as it was. */
  receive(people: Partial<Accounts>): void;
  /** From now on it signs with these, and publishes no others. */
  rotate(...keys: [SigningKey, ...SigningKey[]]): void;
  /** From now on it answers one path like this; without a listener, as usual. */
  answer(path: string, listener?: RequestListener): void;
  /** How often a path has been asked for. */
  asked(path: string): number;
  /** Nothing listens on its port any more. */
  stop(): Promise<void>;
  /** It is back on the same port. */
  start(): Promise<void>;
}

/** Starts one with an RSA key. */
export async function startProvider(): Promise<TestProvider> {
  const [firstKey, claimsOf, asked] = [
    await makeKey('RS256'),
    new Map<string, JWTPayload>(),
    new Map<string, number>(),
  ];
  let keys: readonly [SigningKey, ...SigningKey[]] = [firstKey];
  let callback: RequestListener;
  let people = noAccounts;
  let ask: RequestListener;
  const memory = createMemoryAdapter((id) =>
    id === dashboardClient ? dashboardClientMetadata(people) : clientOf(id),
  );
  const instead = new Map<string, RequestListener>();
  const server = createServer((request, response) => {
    const { url: path = '' } = request;
    asked.set(path, (asked.get(path) ?? 0) + 1);
    (instead.get(path) ?? (path.startsWith('/interaction/') ? ask : callback))(request, response);
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
      ...configurationOf(jwks, claimsOf, () => people),
      adapter: memory,
    });
    callback = provider.callback();
    ask = createLoginHandler(provider);
  };
  configure();

  async function stop(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }

  return {
    issuer,
    settings(differing = {}) {
      const { oidc } = readConfig({ OIDC_ISSUER: issuer, OIDC_AUDIENCE: audience, ...differing });
      if (!oidc) throw new Error('there was to be a provider in the configuration');
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
    asked: (path) => asked.get(path) ?? 0,
    stop,
    async start() {
      server.listen(address.port, '127.0.0.1');
      await once(server, 'listening');
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** A new key for signing. */
export async function makeKey(alg: string): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const kid = crypto.randomUUID();
  return {
    jwk: { ...(await exportJWK(privateKey)), kid, alg },
    publicPem: await exportSPKI(publicKey),
  };
}

/** Any client may have a token for any resource, with our scopes and with `email`, which is none of ours. */
function configurationOf(
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

function clientOf(id: string): object {
  return {
    client_id: id,
    client_secret: clientSecret,
    token_endpoint_auth_method: 'client_secret_post',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  };
}
