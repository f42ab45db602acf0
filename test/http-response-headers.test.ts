import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { sendRaw } from './testkit/raw-http.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

let server: TestServer;
let production: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  server = await startTestServer({ signInKey: new Secret('the-key-of-one-time-codes-is-in-no-page') });
  production = await startTestServer({
    config: { production: true, graphiql: false, fakeOkta: false },
    beside: server,
  });
  organisation = await server.newOrganisation();
});
afterAll(async () => {
  await production.close();
  await server.close();
});

const noSource = "default-src 'none'; frame-ancestors 'none'";

function expectSafe(headers: Headers, policy: string | RegExp = noSource, cacheControl = 'no-store'): void {
  expect(Object.fromEntries(headers)).toMatchObject({
    'cache-control': cacheControl,
    'content-security-policy': typeof policy === 'string' ? policy : expect.stringMatching(policy),
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'permissions-policy': expect.stringContaining('camera=()'),
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
  });
  for (const name of ['server', 'x-powered-by', 'set-cookie']) expect(headers.has(name)).toBe(false);
}

function post(path: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(new URL(path, server.url), {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${organisation.apiKey}`,
      ...headers,
    },
    body,
  });
}

const query = '{"query":"{ __typename }"}';
const large = JSON.stringify({ query: 'x'.repeat(200_000) });
const rest = '/api/v1/app-connections';

describe('security headers against caching, sniffing, scripts and framing', () => {
  it.each<[number, string, () => Promise<Response>]>([
    [200, 'health', () => fetch(`${server.url}/health/live`)],
    [405, 'health', () => fetch(`${server.url}/health/ready`, { method: 'DELETE' })],
    [404, 'an unknown path', () => fetch(`${server.url}/favicon.ico`)],
    [200, 'GraphQL', () => post('/graphql', query)],
    [400, 'GraphQL', () => post('/graphql', '{')],
    [401, 'GraphQL', () => post('/graphql', query, { authorization: 'Bearer unknown-key' })],
    [405, 'GraphQL', () => fetch(server.graphqlUrl, { method: 'DELETE' })],
    [406, 'GraphQL', () => post('/graphql', query, { accept: 'text/csv' })],
    [413, 'GraphQL', () => post('/graphql', large)],
    [415, 'GraphQL', () => post('/graphql', query, { 'content-type': 'text/plain' })],
    [200, 'REST', () => fetch(`${server.url}/api/v1/openapi.json`)],
    [401, 'REST', () => fetch(`${server.url}${rest}`)],
    [404, 'REST', () => fetch(`${server.url}/api/`)],
    [405, 'REST', () => fetch(`${server.url}${rest}`, { method: 'PUT' })],
    [413, 'REST', () => post(`${rest}/okta`, large)],
    [415, 'REST', () => post(`${rest}/okta`, query, { 'content-type': 'text/plain' })],
    [422, 'REST', () => post(`${rest}/okta`, '{}')],
  ])('are sent with status %i for %s', async (status, _, send) => {
    const response = await send();
    await response.text();
    expect(response.status).toBe(status);
    expectSafe(response.headers);
  });

  it.each([
    [400, 'bytes that are not HTTP', 'nonsense\r\n\r\n'],
    [400, 'a request without a Host header', 'GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n'],
    [421, 'the Host of another site', 'GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n'],
    [431, 'headers without end', `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(100_000)}`],
    [
      200,
      'an unknown Expect header',
      'GET /health/live HTTP/1.1\r\nHost: localhost\r\nExpect: a-miracle\r\nConnection: close\r\n\r\n',
    ],
  ])('are sent with status %i for %s from the HTTP parser', async (status, _, bytes) => {
    const answer = await sendRaw(server.url, bytes);
    expect(answer.status).toBe(status);
    expectSafe(answer.headers);
  });

  it('are sent with a subscription', async () => {
    await using subscription = await subscribe(
      server.graphqlUrl,
      organisation.apiKey,
      'subscription { appConnectionChanged { kind } }',
    );
    expectSafe(subscription.headers, noSource, 'no-store, no-transform');
  });

  it('are sent with 500 and 503 when the tables are dropped', async () => {
    const broken = await startTestServer();
    const { apiKey } = await broken.newOrganisation();
    await broken.asOwner().execute('drop table app_connection, data_key cascade');
    const list = await fetch(`${broken.url}${rest}`, { headers: { authorization: `Bearer ${apiKey}` } });
    expect(list.status).toBe(500);
    expectSafe(list.headers);
    const ready = await fetch(`${broken.url}/health/ready`);
    expect(ready.status).toBe(503);
    expectSafe(ready.headers);
    await broken.close();
  });
});

describe('the Content-Security-Policy of GraphiQL', () => {
  const open = (headers: Record<string, string> = {}) =>
    fetch(server.graphqlUrl, { headers: { accept: 'text/html', ...headers } });

  it('allows only its own scripts and requests to its own server', async () => {
    const response = await open();
    expectSafe(response.headers, /^default-src 'none'; script-src 'sha256-/);
    const policy = response.headers.get('content-security-policy') ?? '';
    const directives = Object.fromEntries(policy.split('; ').map((each) => each.split(/ (.*)/)));
    expect(directives).toEqual({
      'default-src': "'none'",
      'script-src': expect.any(String),
      'style-src': "'unsafe-inline'",
      'worker-src': 'blob:',
      'font-src': 'data:',
      'img-src': 'data:',
      'connect-src': "'self'",
      'base-uri': "'none'",
      'form-action': "'none'",
      'frame-ancestors': "'none'",
    });
    // HTML standard: a script ends at the first end tag.
    const scripts = (await response.text()).split(/<script[^>]*>(?=\s*\(|\s*function)/).slice(1);
    const hashes = scripts.map((rest) =>
      createHash('sha256')
        .update(rest.slice(0, rest.indexOf('</script')))
        .digest('base64'),
    );
    expect(hashes).toHaveLength(2);
    expect(directives['script-src']).toBe(hashes.map((hash) => `'sha256-${hash}'`).join(' '));
  });
});

describe('response headers', () => {
  it('set no cookies, and cookies of a request are ignored', async () => {
    const bare = await fetch(`${server.url}${rest}`, {
      headers: { cookie: `authorization=Bearer ${organisation.apiKey}; session=${organisation.apiKey}` },
    });
    expect(bare.status).toBe(401);
    expectSafe(bare.headers);
    const signedIn = await post('/graphql', query, { cookie: 'session=1; __Host-session=2' });
    expect(await signedIn.json()).toEqual({ data: { __typename: 'Query' } });
    expectSafe(signedIn.headers);
  });

  it('have HSTS in production, and none in development', async () => {
    const inProduction = await fetch(`${production.url}/health/live`);
    expect(inProduction.headers.get('strict-transport-security')).toBe('max-age=31536000');
    expectSafe(inProduction.headers);
    const here = await fetch(`${server.url}/health/live`);
    expect(here.headers.has('strict-transport-security')).toBe(false);
  });
});
