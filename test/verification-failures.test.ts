import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Lookup } from '../src/outbound/dns.ts';
import { type Certificates, makeCertificates, trust } from './testkit/certificates.ts';
import * as behaviours from './testkit/okta.ts';
import { startOkta } from './testkit/okta.ts';
import { type Created, createMutation, type Listed, listQuery, okta } from './testkit/operations.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

/** Trusted hosts on this machine; each test adds its own. */
const trusted = new Set<string>();
/** How host names are resolved; each test sets its own. */
let lookup: Lookup;
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    config: { trustedInstanceHosts: trusted },
    outbound: { timeoutMs: 1_000, lookup: (name) => lookup(name) },
  });
});
afterAll(() => server.close());

/** Returns the error of a create that must fail, and the number of stored connections. */
async function failToCreate(instanceUrl: string, onUnreachable = 'FAIL') {
  const { client } = await server.newOrganisation();
  const [error] = await errorsOf(client.request(createMutation, okta({ onUnreachable }, { instanceUrl })));
  const { appConnections } = await client.request<Listed>(listQuery);
  return { ...error, kept: appConnections.totalCount };
}

async function createAnyway(instanceUrl: string) {
  const { client } = await server.newOrganisation();
  const input = okta({ onUnreachable: 'SAVE_UNVERIFIED' }, { instanceUrl });
  return (await client.request<Created>(createMutation, input)).createOktaConnection.appConnection;
}

describe('verification by Okta', () => {
  let upstream: behaviours.TestOkta;
  beforeAll(async () => {
    upstream = await startOkta();
    trusted.add(upstream.hostPort);
  });
  afterAll(() => upstream.close());

  test("sends the request that Okta's API description specifies", async () => {
    const { client } = await server.newOrganisation();
    await client.request(createMutation, okta({}, { instanceUrl: upstream.origin, apiToken: 'the-token' }));
    expect(upstream.verifications().at(-1)).toMatchObject({
      method: 'GET',
      path: '/api/v1/users/me',
      headers: {
        authorization: 'SSWS the-token',
        accept: 'application/json',
        'user-agent': expect.stringMatching(/^app-connections/),
      },
    });
  });

  const reset = new Date(Math.ceil(Date.now() / 1000) * 1000 + 60_000);
  test.each([
    ['the token is rejected', behaviours.tokenRejected, 'CREDENTIALS_REJECTED', /token/i],
    ['the role is too weak', behaviours.insufficientRole, 'INSUFFICIENT_PERMISSIONS', /lacks a permission/],
    ['it is not JSON', behaviours.notJson(), 'NOT_AN_OKTA_ORG', /Okta/],
    ['it is JSON, but not Okta', behaviours.notOkta(), 'NOT_AN_OKTA_ORG', /Okta/],
    ['a proxy in front requires a password', behaviours.notJson(401), 'NOT_AN_OKTA_ORG', /Okta/],
    ['a firewall in front forbids it', behaviours.notJson(403), 'NOT_AN_OKTA_ORG', /Okta/],
    ['it redirects', behaviours.redirect('http://127.0.0.1:1/'), 'NOT_AN_OKTA_ORG', /redirects/],
    ['the response is endless', behaviours.endlessBody, 'NOT_AN_OKTA_ORG', /large/i],
  ])('never saves the connection when %s', async (_, behaviour, code, message) => {
    upstream.behave(behaviour);
    for (const onUnreachable of ['FAIL', 'SAVE_UNVERIFIED']) {
      const error = await failToCreate(upstream.origin, onUnreachable);
      expect(error).toMatchObject({ message: expect.stringMatching(message), extensions: { code }, kept: 0 });
      expect(error.extensions?.remedy).toEqual(expect.any(String));
    }
  });

  test.each([
    ['Okta is rate limiting', behaviours.rateLimited(reset), 'UPSTREAM_RATE_LIMITED', /limits the rate/],
    ['Okta fails', behaviours.failing(500), 'UPSTREAM_UNREACHABLE', /500/],
    ['Okta is down for maintenance', behaviours.failing(503), 'UPSTREAM_UNREACHABLE', /503/],
    ['Okta does not answer', behaviours.slowHeaders, 'UPSTREAM_UNREACHABLE', /within 1 s/],
    ['Okta does not finish its answer', behaviours.slowBody, 'UPSTREAM_UNREACHABLE', /within 1 s/],
    ['Okta closes the connection', behaviours.closesConnection, 'UPSTREAM_UNREACHABLE', /clos|reset|hung/i],
  ])(
    'reports an outage, never a rejected token, and saves on request when %s',
    async (_, behaviour, code, message) => {
      upstream.behave(behaviour);
      const error = await failToCreate(upstream.origin);
      expect(error).toMatchObject({ message: expect.stringMatching(message), extensions: { code }, kept: 0 });
      const kept = await createAnyway(upstream.origin);
      expect(kept.verification).toMatchObject({
        status: 'UNREACHABLE',
        code,
        message: expect.stringMatching(message),
        remedy: expect.any(String),
      });
      expect(kept.credentials.tokenOwner).toBeNull();
    },
  );

  test('returns when the rate limit resets', async () => {
    upstream.behave(behaviours.rateLimited(reset));
    const error = await failToCreate(upstream.origin);
    expect(error.extensions?.retryAt).toBe(reset.toISOString());
    expect(error.message).toContain(reset.toISOString());
  });

  test('accepts a response with only the members that the API description guarantees', async () => {
    upstream.behave(
      behaviours.withToken((_, response) => {
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"id":"00ub0oNGTSWTBKOLGLNR"}');
      }),
    );
    const { client } = await server.newOrganisation();
    const { createOktaConnection } = await client.request<Created>(
      createMutation,
      okta({}, { instanceUrl: upstream.origin }),
    );
    expect(createOktaConnection.appConnection).toMatchObject({
      credentials: { tokenOwner: { id: '00ub0oNGTSWTBKOLGLNR', login: null, status: null } },
      verification: { status: 'VERIFIED', oktaRequestId: null },
    });
  });
});

describe('verification of an unreachable host', () => {
  test('reports a refused connection', async () => {
    const gone = await startOkta();
    await gone.close();
    trusted.add(gone.hostPort);
    const error = await failToCreate(gone.origin);
    expect(error).toMatchObject({
      message: expect.stringMatching(/refused/),
      extensions: { code: 'UPSTREAM_UNREACHABLE' },
      kept: 0,
    });
    expect((await createAnyway(gone.origin)).verification.status).toBe('UNREACHABLE');
  });

  test('reports an unknown host', async () => {
    lookup = () => Promise.reject(Object.assign(new Error('no such host'), { code: 'ENOTFOUND' }));
    const error = await failToCreate('https://acme.okta.com');
    expect(error).toMatchObject({
      message: expect.stringMatching(/does not exist/),
      extensions: { code: 'UPSTREAM_UNREACHABLE' },
      kept: 0,
    });
  });

  describe('over TLS', () => {
    let certificates: Certificates;
    beforeAll(async () => {
      certificates = await makeCertificates();
    });

    test.each([
      ['expired', /expired/],
      ['wrongHost', /another host|host name/],
      ['selfSigned', /self-signed|signed by itself/],
    ] as const)('reports an invalid certificate: %s', async (which, message) => {
      using _ = trust(certificates.ca);
      await using upstream = await startOkta({ tls: certificates[which] });
      trusted.add(upstream.hostPort);
      const error = await failToCreate(upstream.origin);
      expect(error).toMatchObject({
        message: expect.stringMatching(message),
        extensions: { code: 'UPSTREAM_UNREACHABLE' },
        kept: 0,
      });
      expect(upstream.requests).toHaveLength(0);
    });

    test('trusts a valid certificate only of a trusted authority', async () => {
      await using upstream = await startOkta({ tls: certificates.good });
      trusted.add(upstream.hostPort);
      const error = await failToCreate(upstream.origin);
      expect(error).toMatchObject({
        message: expect.stringMatching(/authority|trusted/),
        extensions: { code: 'UPSTREAM_UNREACHABLE' },
        kept: 0,
      });
      using _ = trust(certificates.ca);
      expect((await createAnyway(upstream.origin)).verification.status).toBe('VERIFIED');
    });
  });
});

describe('verification of a forbidden host', () => {
  test.each([
    'https://127.0.0.1',
    'https://10.0.0.1',
    'https://169.254.169.254',
    'https://[::1]',
    'https://localhost',
  ])('rejects a host that is %s', async (instanceUrl) => {
    const error = await failToCreate(instanceUrl, 'SAVE_UNVERIFIED');
    expect(error).toMatchObject({ extensions: { code: 'HOST_NOT_ALLOWED' }, kept: 0 });
  });

  test('rejects a name that resolves to a private address', async () => {
    await using upstream = await startOkta();
    lookup = async () => [{ address: '127.0.0.1', family: 4 }];
    const error = await failToCreate(`https://rebound.example:${upstream.port}`, 'SAVE_UNVERIFIED');
    expect(error).toMatchObject({ extensions: { code: 'HOST_NOT_ALLOWED' }, kept: 0 });
    expect(upstream.connections()).toBe(0);
  });

  test('rejects a name that resolves to a public address first and to a private one later', async () => {
    await using upstream = await startOkta();
    let lookups = 0;
    lookup = async () => {
      lookups += 1;
      // 3000::1 is public but unassigned, so nothing answers there.
      return lookups === 1 ? [{ address: '3000::1', family: 6 }] : [{ address: '127.0.0.1', family: 4 }];
    };
    const error = await failToCreate(`https://rebound.example:${upstream.port}`);
    expect(error).toMatchObject({ extensions: { code: 'UPSTREAM_UNREACHABLE' }, kept: 0 });
    expect(lookups).toBe(1);
    expect(upstream.connections()).toBe(0);
  });
});
