import type { IncomingMessage, ServerResponse } from 'node:http';
import { decodeJwt } from 'jose';
import { type AuthorizationServer, allowInsecureRequests, validateJwtAccessToken } from 'oauth4webapi';
import { Provider } from 'oidc-provider';
import { handleFakeOkta } from '../../src/apps/okta/fake-okta.ts';
import { makeKey } from './oidc.ts';
import { createMemoryAdapter } from './oidc-accounts.ts';
import { startOkta, type TestOkta, wellKnown } from './okta.ts';

/** A service app at the provider: where its public keys are, or the keys themselves. */
export interface ProviderClient {
  scopes: readonly string[];
  keys: { jwks_uri: string } | { jwks: { keys: readonly object[] } };
}

/** A host whose token endpoint is oidc-provider and whose API checks access tokens with oauth4webapi. */
export interface OAuthOkta extends AsyncDisposable {
  origin: string;
  hostPort: string;
  /** Creates or replaces a client. */
  setClient(clientId: string, client: ProviderClient): void;
  /** Sets the nonce that proofs to the API need from now on. */
  setNonce(nonce: string): void;
  /** The requests with a valid access token and a new proof, the oldest first. */
  accepted: readonly { method: string; url: string; body: string; clientId: string; scopes: string }[];
  /** The URLs from which the provider has fetched keys. */
  fetchedKeys: readonly string[];
  /** The number of requests for a path, whatever their responses were. */
  countRequests(path: string): number;
}

const tokenPath = '/oauth2/v1/token';
const keysPath = '/oauth2/v1/keys';
const allScopes = ['okta.users.read', 'okta.users.manage', 'okta.groups.read'];

/** Starts the host. Its token endpoint and its API both require nonces in DPoP proofs. */
export async function startOAuthOkta(): Promise<OAuthOkta> {
  const okta = await startOkta();
  const clients = new Map<string, ProviderClient>();
  const fetchedKeys: string[] = [];
  const provider = await createProvider(okta, clients, fetchedKeys);
  const api = new ProtectedApi(okta.origin);
  okta.behave((request, response) => {
    const { url = '' } = request;
    if (url === wellKnown) return handleFakeOkta(request, response);
    if (url.startsWith('/oauth2/')) return provider(request, response);
    api.handle(request, response).catch(() => response.writeHead(500).end());
  });
  return {
    origin: okta.origin,
    hostPort: okta.hostPort,
    setClient: (clientId, client) => void clients.set(clientId, client),
    setNonce: (nonce) => {
      api.nonce = nonce;
    },
    accepted: api.accepted,
    fetchedKeys,
    countRequests: (path) => okta.requests.filter((request) => request.path === path).length,
    [Symbol.asyncDispose]: () => okta.close(),
  };
}

async function createProvider(
  { origin }: TestOkta,
  clients: ReadonlyMap<string, ProviderClient>,
  fetchedKeys: string[],
) {
  const provider = new Provider(origin, {
    jwks: { keys: [(await makeKey('RS256')).jwk] },
    adapter: createMemoryAdapter((id) => {
      const client = clients.get(id);
      return client && toMetadata(id, client);
    }),
    routes: { token: tokenPath, jwks: keysPath },
    scopes: allScopes,
    ttl: { ClientCredentials: 3_600 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 1), requireNonce: () => true },
      resourceIndicators: {
        enabled: true,
        defaultResource: async () => origin,
        getResourceServerInfo: async () => ({
          audience: origin,
          scope: allScopes.join(' '),
          accessTokenFormat: 'jwt',
        }),
      },
    },
    // The provider's own dispatcher refuses addresses of this machine.
    fetch: (url: string) => {
      fetchedKeys.push(url);
      return fetch(url);
    },
  });
  return provider.callback();
}

function toMetadata(clientId: string, { scopes, keys }: ProviderClient): object {
  return {
    client_id: clientId,
    token_endpoint_auth_method: 'private_key_jwt',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: scopes.join(' '),
    dpop_bound_access_tokens: true,
    ...keys,
  };
}

/** Answers requests whose access token and DPoP proof are valid with a list of one user. */
class ProtectedApi {
  nonce = 'the-first-nonce-of-the-api';
  readonly accepted: OAuthOkta['accepted'][number][] = [];
  readonly #server: AuthorizationServer;
  readonly #usedProofs = new Set<unknown>();

  constructor(origin: string) {
    this.#server = { issuer: origin, jwks_uri: `${origin}${keysPath}` };
  }

  async handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = incoming;
    const body = Buffer.concat(await incoming.toArray()).toString();
    const request = new Request(`${this.#server.issuer}${url}`, {
      method,
      headers: incoming.headers as Record<string, string>,
    });
    const refuse = (error: string) =>
      response
        .writeHead(401, { 'www-authenticate': `DPoP error="${error}"`, 'dpop-nonce': this.nonce })
        .end('{"errorCode":"E0000011","errorSummary":"Invalid token provided"}');
    let claims: Awaited<ReturnType<typeof validateJwtAccessToken>>;
    try {
      claims = await validateJwtAccessToken(this.#server, request, this.#server.issuer, {
        requireDPoP: true,
        [allowInsecureRequests]: true,
      });
    } catch {
      refuse('invalid_token');
      return;
    }
    const { jti, nonce } = decodeJwt(request.headers.get('dpop') ?? '');
    if (this.#usedProofs.has(jti)) return void refuse('invalid_dpop_proof');
    this.#usedProofs.add(jti);
    if (nonce !== this.nonce) return void refuse('use_dpop_nonce');
    this.accepted.push({ method, url, body, clientId: claims.client_id, scopes: claims.scope ?? '' });
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end('[{"id":"00ub0oNGTSWTBKOLGLNR","status":"ACTIVE","profile":{"login":"ada@example.com"}}]');
  }
}
