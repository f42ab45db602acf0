import { generateKeyPairSync } from 'node:crypto';
import { gql } from 'graphql-request';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { App, AuthMethod } from '../src/apps/app.ts';
import { createApps } from '../src/apps/index.ts';
import { Secret } from '../src/common/secret.ts';
import { type OAuthClient, oauth } from '../src/oauth/oauth.ts';
import { moveClock, restoreClock } from './testkit/move-clock.ts';
import { type OAuthOkta, startOAuthOkta } from './testkit/oauth-okta.ts';
import { at, restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let okta: OAuthOkta;
let server: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  okta = await startOAuthOkta();
  const trustedHosts = new Set([okta.hostPort]);
  server = await startTestServer({
    config: { trustedInstanceHosts: trustedHosts },
    apps: [...createApps({ trustedHosts, oauth }), harbour(okta.origin)],
  });
  organisation = await server.newOrganisation();
});
afterAll(async () => {
  await server.close();
  await okta[Symbol.asyncDispose]();
});
afterEach(() => {
  restoreClock();
});

/** An app that is not Okta, and whose only method uses the tools of OAuth that every app gets. */
function harbour(origin: string): App {
  const field = { placeholder: '', help: 'A value.', whereToFind: 'At the quay.', required: true };
  const createSession = ({
    public: { clientId = '' },
    secret: { key },
  }: Parameters<AuthMethod['verify']>[0]) =>
    oauth.createClient({
      tokenUrl: new URL(tokenPath, origin),
      ...{ clientId, scopes: ['okta.users.read'], keyId: 'harbour-key' },
      key: oauth.openPrivateKey(key ?? new Secret('')),
    });
  const method: AuthMethod<OAuthClient> = {
    id: 'key',
    label: 'Key',
    description: 'A key.',
    fields: {
      clientId: { ...field, label: 'Client', kind: 'TEXT', schema: z.string() },
      key: {
        ...{ ...field, label: 'Key', kind: 'SECRET' },
        schema: z.instanceof(Secret).transform((given) => oauth.parsePrivateKey(given)),
      },
    },
    createSession,
    async verify(credentials, outbound, _, { session = createSession(credentials) } = {}) {
      await session.renewToken(outbound);
      return { status: 'VERIFIED', account: null, upstreamRequestId: null };
    },
    use: {
      getOrigin: () => new URL(origin),
      createAuthorizer: (_, session) => ({
        async authorize(request, by) {
          const { headers, token } = await session.authorize(request, by);
          return { headers, secret: token };
        },
        observe: ({ secret }, response) => secret !== undefined && session.observe(secret, response),
      }),
      rejection: { status: 401, isConfirmedBy: () => false },
    },
  };
  const rules = [{ effect: 'ALLOW', path: '/**' }] as const;
  return {
    ...{ id: 'harbour', name: 'Harbour', description: 'A harbour.', methods: [method] },
    usePresets: [{ id: 'ALL', description: 'All requests.', rules }],
  };
}

const fields = gql`
  fragment Fields on AppConnection {
    id
    credentials { ... on OktaServiceAppCredentials { jwksUrl keys { keyId publicJwk state } } }
    verification { status code message remedy }
  }
`;
interface Connection {
  id: string;
  credentials: { jwksUrl: string; keys: { keyId: string; publicJwk: object; state: string }[] };
  verification: { status: string; code: string | null; message: string | null };
}

let count = 0;
async function create(credentials: object = {}): Promise<Connection & { clientId: string }> {
  count += 1;
  const clientId = `0oa${String(count).padStart(17, '0')}`;
  const scopes = ['okta.users.read', 'okta.users.manage'];
  const input = {
    name: `provider-${count}`,
    method: 'SERVICE_APP',
    credentials: { instanceUrl: okta.origin, clientId, scopes, ...credentials },
  };
  const { createOktaConnection } = await organisation.client.request<{
    createOktaConnection: { appConnection: Connection };
  }>(
    gql`
      mutation ($input: CreateOktaConnectionInput!) {
        createOktaConnection(input: $input) { appConnection { ...Fields } }
      }
      ${fields}
    `,
    { input },
  );
  return { ...createOktaConnection.appConnection, clientId };
}

async function verify(id: string): Promise<Connection> {
  const { verifyAppConnection } = await organisation.client.request<{
    verifyAppConnection: { appConnection: Connection };
  }>(gql`mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { ...Fields } } } ${fields}`, {
    id,
  });
  return verifyAppConnection.appConnection;
}

/** Creates a connection whose keys the provider fetches from this server, and verifies it. */
async function connect(): Promise<Connection & { clientId: string }> {
  const created = await create();
  const { jwksUrl: jwks_uri } = created.credentials;
  okta.setClient(created.clientId, { scopes: ['okta.users.read', 'okta.users.manage'], keys: { jwks_uri } });
  expect((await verify(created.id)).verification).toMatchObject({ status: 'VERIFIED' });
  return created;
}

const rest = (method: string, path: string, body?: object) =>
  restClient(server.url, organisation.apiKey)(method, `/api/v1/app-connections/okta${path}`, body);
const tokenPath = '/oauth2/v1/token';

describe('a service app at oidc-provider, with DPoP and nonces required', () => {
  it('is verified with a key that the provider fetches from this server, and used', async () => {
    const { id, clientId, credentials, verification } = await create();
    expect(verification.status).toBe('PENDING');
    expect((await verify(id)).verification).toMatchObject({
      status: 'REJECTED',
      code: 'CREDENTIALS_REJECTED',
      message: expect.stringContaining('Okta does not accept the client'),
    });
    okta.setClient(clientId, {
      scopes: ['okta.users.read', 'okta.users.manage'],
      keys: { jwks_uri: credentials.jwksUrl },
    });
    expect(await verify(id)).toMatchObject({
      credentials: { keys: [{ state: 'ACTIVE' }] },
      verification: { status: 'VERIFIED', code: null },
    });
    expect(okta.fetchedKeys).toContain(credentials.jwksUrl);
    const before = okta.accepted.length;
    const response = await rest('GET', `/${id}/proxy/api/v1/users?limit=1&search=profile.login+sw+"a"`);
    expect(response).toMatchObject({ status: 200, body: [{ profile: { login: 'ada@example.com' } }] });
    expect(okta.accepted.slice(before)).toEqual([
      {
        method: 'GET',
        url: '/api/v1/users?limit=1&search=profile.login+sw+%22a%22',
        ...{ body: '', clientId, scopes: 'okta.users.manage okta.users.read' },
      },
    ]);
  });

  it('repeats requests when the API asks for a new nonce, and uses the token of its verification', async () => {
    const { id } = await connect();
    const tokens = okta.countRequests(tokenPath);
    const path = `/${id}/proxy/api/v1/users`;
    for (const nonce of ['a-second-nonce', 'a-third-nonce']) {
      okta.setNonce(nonce);
      const responses = await Promise.all(Array.from({ length: 5 }, () => rest('GET', path)));
      expect(responses.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    }
    expect(okta.countRequests(tokenPath) - tokens).toBe(0);
  });

  it('asks for another token after the end of the first, when its nonce of the provider is too old', async () => {
    const { id } = await connect();
    expect((await rest('GET', `/${id}/proxy/api/v1/users`)).status).toBe(200);
    const tokens = okta.countRequests(tokenPath);
    moveClock(3_700_000);
    expect((await rest('GET', `/${id}/proxy/api/v1/users`)).status).toBe(200);
    expect(okta.countRequests(tokenPath) - tokens).toBe(2);
  });

  it('is verified with an RSA key of the caller', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'key-of-the-caller', use: 'sig' };
    okta.setClient('0oaKeyOfTheCaller000', { scopes: ['okta.users.read'], keys: { jwks: { keys: [jwk] } } });
    const { verification } = await create({
      clientId: '0oaKeyOfTheCaller000',
      scopes: ['okta.users.read'],
      privateKey: privateKey.export({ format: 'pem', type: 'pkcs1' }),
      keyId: jwk.kid,
    });
    expect(verification).toMatchObject({ status: 'VERIFIED' });
  });

  it('is REJECTED with the names of the scopes that the provider does not grant', async () => {
    const { id, clientId, credentials } = await create({
      scopes: ['okta.groups.read', 'okta.users.read', 'okta.users.manage'],
    });
    okta.setClient(clientId, { scopes: ['okta.users.read'], keys: { jwks_uri: credentials.jwksUrl } });
    expect((await verify(id)).verification).toMatchObject({
      status: 'REJECTED',
      code: 'INSUFFICIENT_PERMISSIONS',
      message: expect.stringContaining('okta.groups.read, okta.users.manage'),
    });
  });
});

describe('an app that is not Okta, at oidc-provider', () => {
  it('gets one access token for its verification and its requests, with DPoP', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'harbour-key', use: 'sig' };
    okta.setClient('a-harbour', { scopes: ['okta.users.read'], keys: { jwks: { keys: [jwk] } } });
    const send = (method: string, path: string, body?: object) =>
      restClient(server.url, organisation.apiKey)(method, `/api/v1/app-connections/harbour${path}`, body);
    const key = privateKey.export({ format: 'pem', type: 'pkcs8' });
    const tokens = okta.countRequests(tokenPath);
    const created = await send('POST', '', { name: 'quay', credentials: { clientId: 'a-harbour', key } });
    expect(created.status).toBe(200);
    const id = String(at(created.body, 'appConnection', 'id'));
    okta.setNonce('the-nonce-of-the-harbour');
    for (const path of ['/proxy/one', '/proxy/two?query'])
      expect(await send('GET', `/${id}${path}`)).toMatchObject({ status: 200 });
    expect(okta.accepted.slice(-2)).toMatchObject([
      { url: '/one', clientId: 'a-harbour' },
      { url: '/two?query', clientId: 'a-harbour' },
    ]);
    // The first lacks the nonce of the provider.
    expect(okta.countRequests(tokenPath) - tokens).toBe(2);
  });
});
