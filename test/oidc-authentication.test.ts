import { gql } from 'graphql-request';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { verifyChain } from '../src/audit/verify-chain.ts';
import { makeKey, startProvider, type TestProvider } from './testkit/oidc.ts';
import { type Created, createMutation, okta } from './testkit/operations.ts';
import { at, restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

let provider: TestProvider;
let server: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  provider = await startProvider();
  provider.rotate(...provider.keys(), await makeKey('ES256'), await makeKey('EdDSA'));
  server = await startTestServer({ config: provider.settings() });
  organisation = await server.newOrganisation();
});
afterAll(async () => {
  await server.close();
  await provider.stop();
});
afterEach(() => {
  vi.useRealTimers();
});

const viewerQuery = gql`{ viewer { organisation { id } subject scopes } }`;

interface Viewer {
  organisation: { id: string };
  subject: string | null;
  scopes: string[];
}

async function fetchViewer(token: string): Promise<Viewer> {
  return (await server.clientFor(token).request<{ viewer: Viewer }>(viewerQuery)).viewer;
}

test('accepts a token of the provider for GraphQL, REST and subscriptions', async () => {
  const { orgId } = organisation;
  const token = await provider.issue('robot', 'connections:read connections:write', { org: orgId });
  await using changes = await subscribe(
    server.graphqlUrl,
    token,
    'subscription { appConnectionChanged { connectionId } }',
  );
  const { createOktaConnection } = await server
    .clientFor(token)
    .request<Created>(createMutation, okta({ name: 'made-with-a-token' }));
  const { id } = createOktaConnection.appConnection;
  expect((await changes.next()).data).toEqual({ appConnectionChanged: { connectionId: id } });
  const { status, body } = await restClient(server.url, token)('GET', `/api/v1/app-connections/okta/${id}`);
  expect([status, at(body, 'appConnection', 'name')]).toEqual([200, 'made-with-a-token']);
});

describe('OIDC token is accepted', () => {
  test('with each type of signing key, and with several audiences', async () => {
    const { orgId } = organisation;
    const { audience } = provider.settings().oidc;
    for (const key of provider.keys()) {
      const token = await provider.forge(
        { org: orgId, aud: ['https://elsewhere.example', audience] },
        { key },
      );
      expect(await fetchViewer(token)).toMatchObject({ organisation: { id: orgId }, subject: 'robot' });
    }
  });

  test('without a key id when only one key fits', async () => {
    const token = await provider.forge({ org: organisation.orgId }, { header: { kid: undefined } });
    expect(await fetchViewer(token)).toMatchObject({ subject: 'robot' });
  });

  test.each([
    ['words', 'connections:read email audit:read no:such'],
    ['a string with extra spaces', '  audit:read   connections:read '],
    ['an array', ['audit:read', 'connections:read', 'CONNECTIONS:WRITE', 'access:admin ', 'audit:read']],
  ])('with scopes as %s, and ignores unknown scopes', async (_, scope) => {
    const token = await provider.forge({ org: organisation.orgId, scope });
    expect((await fetchViewer(token)).scopes).toEqual(['CONNECTIONS_READ', 'AUDIT_READ']);
  });

  test.each([
    ['no scopes', undefined],
    ['an empty list of scopes', []],
    ['empty strings as scopes', ''],
    ['unknown scopes', 'email openid'],
  ])('with %s, but without permissions', async (_, scope) => {
    const token = await provider.forge({ org: organisation.orgId, scope });
    expect((await fetchViewer(token)).scopes).toEqual([]);
    const { status, body } = await restClient(server.url, token)('GET', '/api/v1/app-connections');
    expect(status).toBe(403);
    expect(body).toMatchObject({
      code: 'FORBIDDEN',
      detail: 'This token lacks the scope connections:read.',
      remedy: 'Use one that has connections:read.',
    });
  });

  test('with a subject of the maximum length', async () => {
    const sub = 'x'.repeat(255);
    const token = await provider.forge({ org: organisation.orgId, sub });
    expect(await fetchViewer(token)).toMatchObject({ subject: sub });
  });

  test('with its organisation in upper case, with a valid audit trail', async () => {
    const { orgId } = await server.newOrganisation();
    const token = await provider.forge({ org: orgId.toUpperCase(), scope: 'connections:write' });
    await server.clientFor(token).request(createMutation, okta());
    const chain = await verifyChain(() => server.database.forOrganisation(orgId), server.vault, orgId);
    expect(chain).toEqual({ events: 1 });
  });

  test.each<[string, object, { typ?: string | undefined }]>([
    ['RFC 9068', {}, { typ: 'at+jwt' }],
    ['RFC 9068, in upper case', {}, { typ: 'AT+JWT' }],
    ['RFC 9068, with the whole media type', { nonce: 'n', scope: undefined }, { typ: 'application/at+jwt' }],
    ['Okta, without a typ header', { cid: 'c', scope: 'connections:read' }, { typ: undefined }],
    ['Auth0 and Entra ID', { azp: 'a' }, { typ: 'JWT' }],
    ['Keycloak', { typ: 'Bearer', azp: 'a', sid: 's' }, { typ: 'JWT' }],
    ['Keycloak before version 24', { typ: 'Bearer', nonce: 'n' }, { typ: 'JWT' }],
    ['Amazon Cognito', { token_use: 'access', client_id: 'c' }, { typ: undefined }],
  ])('as an access token of %s', async (_, claims, header) => {
    const { orgId: org } = organisation;
    const token = await provider.forge(
      { org, scope: 'connections:read', ...claims },
      { header: { ...header } },
    );
    const viewer = await server.clientFor(token).request('{ viewer { subject } }');
    expect(viewer).toEqual({ viewer: { subject: 'robot' } });
  });

  test('when clocks differ by up to 60 s, to the second', async () => {
    const now = Math.floor(Date.now() / 1_000);
    // In the middle of a second: the clock of the database, by which the server corrects its own, may differ by milliseconds.
    vi.setSystemTime(now * 1_000 + 500);
    const { orgId: org } = organisation;
    for (const [claims, detail] of [
      [{ exp: now - 59 }, undefined],
      [{ exp: now - 60 }, 'The token has expired.'],
      [{ nbf: now + 60 }, undefined],
      [{ nbf: now + 61 }, 'The token is not valid yet.'],
      [{ iat: now + 60 }, undefined],
      [{ iat: now + 61 }, 'The time of issue of the token (iat) is in the future.'],
      [{ exp: now + 86_460 }, undefined],
      [{ exp: now + 86_461 }, 'The lifetime of the token exceeds 24 hours.'],
      [{ iat: now - 86_000, exp: now + 460 }, undefined],
      [{ iat: now - 86_000, exp: now + 461 }, 'The lifetime of the token exceeds 24 hours.'],
    ] as const) {
      const token = await provider.forge({ org, scope: 'connections:read', ...claims });
      const { body } = await restClient(server.url, token)('GET', '/api/v1/app-connections');
      expect(at(body, 'detail'), JSON.stringify(claims)).toBe(detail);
    }
  });
});

test('ends a subscription when its token expires, at most 60 s of clock skew later', async () => {
  const { orgId: org } = await server.newOrganisation();
  const subscription = 'subscription { appConnectionChanged { kind } }';
  const expiresAt = Math.floor(Date.now() / 1_000) + 30;
  const token = await provider.forge({ org, scope: 'connections:read', exp: expiresAt });
  const lasting = await provider.forge({ org, scope: 'connections:read connections:write' });
  await using ending = await subscribe(server.graphqlUrl, token, subscription);
  await using going = await subscribe(server.graphqlUrl, lasting, subscription);
  vi.setSystemTime((expiresAt + 60) * 1_000 + 500);
  expect((await ending.next()).errors).toMatchObject([
    { message: 'The token has expired.', extensions: { code: 'UNAUTHENTICATED' } },
  ]);
  await ending.ended;
  await server.clientFor(lasting).request(createMutation, okta());
  expect((await going.next()).data).toEqual({ appConnectionChanged: { kind: 'CREATED' } });
});

test('rejects a token as an API key when no identity provider is configured', async () => {
  const without = await startTestServer();
  const { orgId } = await without.newOrganisation();
  const token = await provider.issue('robot', 'connections:read', { org: orgId });
  const { status, body } = await restClient(without.url, token)('GET', '/api/v1/app-connections');
  expect([status, at(body, 'detail')]).toEqual([401, 'No such API key.']);
  await without.close();
});
