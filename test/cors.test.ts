import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { readConfig } from '../src/config/read-config.ts';
import { createMutation, okta as oktaInput } from './testkit/operations.ts';
import { sendRaw } from './testkit/raw-http.ts';
import { createConnectionOverRest, oktaBody, restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { sendAsBrowser as request } from './testkit/sign-in-code.ts';
import { subscribe } from './testkit/sse-client.ts';

const origin = 'https://app.example';
const otherOrigin = 'http://localhost:5173';
const okta = '/api/v1/app-connections/okta';

let server: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  server = await startTestServer({
    config: { corsOrigins: new Set([origin, otherOrigin]) },
    signInKey: new Secret('the-key-of-one-time-codes-is-in-no-page'),
  });
  organisation = await server.newOrganisation();
});
afterAll(() => server.close());

/** Returns the CORS headers of a response. */
function getCorsHeaders(headers: Headers): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => /^(access-control-|vary$)/.test(name)));
}

const readable = (by: string) => ({
  vary: 'Origin',
  'access-control-allow-origin': by,
  'access-control-expose-headers': 'Link, Retry-After, X-Request-Id',
});
const noCorsHeaders = { vary: 'Origin' };

function fetchFrom(
  path: string,
  init: RequestInit & { headers?: Record<string, string> } = {},
  from = origin,
) {
  const authorization = `Bearer ${organisation.apiKey}`;
  const headers = { authorization, 'content-type': 'application/json', origin: from, ...init.headers };
  return fetch(new URL(path, server.url), { ...init, headers });
}

const preflight = (path: string, from: string, method = 'POST') =>
  fetchFrom(path, { method: 'OPTIONS', headers: { 'access-control-request-method': method } }, from);

const graphql = (query: string, headers: Record<string, string> = {}, from = origin) =>
  fetchFrom('/graphql', { method: 'POST', body: JSON.stringify({ query }), headers }, from);

describe('a CORS preflight', () => {
  it.each([
    ['/graphql', 'GET, POST'],
    [okta, 'GET, POST, PUT, PATCH, DELETE'],
    [`${okta}/7ffbb072-2575-495a-b5b0-127f88caef78`, 'GET, POST, PUT, PATCH, DELETE'],
  ])('allows the methods and headers at %s for a configured origin', async (path, methods) => {
    for (const from of [origin, otherOrigin]) {
      const response = await preflight(path, from);
      expect(response.status).toBe(204);
      expect(await response.text()).toBe('');
      expect(getCorsHeaders(response.headers)).toEqual({
        ...readable(from),
        vary: 'Origin, Access-Control-Request-Headers',
        'access-control-allow-methods': methods,
        'access-control-allow-headers': 'Accept, Authorization, Content-Type, Idempotency-Key',
        'access-control-max-age': '7200',
      });
    }
  });

  it.each([
    'traceparent',
    'baggage,sentry-trace',
    'authorization,content-type,traceparent,tracestate,baggage',
    'apollographql-client-name,apollographql-client-version,apollo-require-preflight,x-apollo-operation-name',
    'idempotency-key, X-Datadog-Trace-Id, x-b3-traceid',
  ])('allows the request headers %s', async (asked) => {
    for (const path of ['/graphql', okta]) {
      const { status, headers } = await fetchFrom(path, {
        method: 'OPTIONS',
        headers: { 'access-control-request-method': 'POST', 'access-control-request-headers': asked },
      });
      expect(status).toBe(204);
      const allowed = (headers.get('access-control-allow-headers') ?? '').toLowerCase().split(/ *, */);
      expect(allowed).toEqual(expect.arrayContaining(asked.toLowerCase().split(/ *, */)));
      expect(allowed).toEqual(expect.arrayContaining(['authorization', 'content-type']));
    }
  });

  it.each(['a b', 'x:y', 'x,,y', '"x"', 'x;y', '<script>'])(
    'does not allow %s, which is no list of header names',
    async (asked) => {
      const { headers } = await fetchFrom('/graphql', {
        method: 'OPTIONS',
        headers: { 'access-control-request-method': 'POST', 'access-control-request-headers': asked },
      });
      expect(headers.get('access-control-allow-headers')).toBe(
        'Accept, Authorization, Content-Type, Idempotency-Key',
      );
    },
  );

  it.each([
    'https://evil.example',
    'https://app.example.evil.example',
    'https://evil.app.example',
    'https://app.example:8443',
    'http://app.example',
    'https://app.example/',
    'HTTPS://APP.EXAMPLE',
    'https://app.example, https://evil.example',
    'null',
    '*',
  ])('gets no CORS headers for the origin %s', async (from) => {
    for (const path of ['/graphql', okta]) {
      const response = await preflight(path, from);
      expect(response.status).toBe(405);
      expect(getCorsHeaders(response.headers)).toEqual(noCorsHeaders);
    }
  });

  it('gets no CORS headers on paths without CORS', async () => {
    for (const path of ['/', '/health/ready', '/graphql/']) {
      const { status, headers } = await preflight(path, origin);
      expect([404, 405]).toContain(status);
      expect(headers.has('access-control-allow-methods')).toBe(false);
    }
  });
});

describe('a page of a configured origin can read', () => {
  it('responses of GraphQL and REST', async () => {
    const created = await fetchFrom(okta, { method: 'POST', body: JSON.stringify(oktaBody()) });
    expect(created.status).toBe(200);
    expect(getCorsHeaders(created.headers)).toEqual(readable(origin));
    const listed = await graphql('{ appConnections { totalCount } }', {}, otherOrigin);
    expect(await listed.json()).toEqual({ data: { appConnections: { totalCount: 1 } } });
    expect(getCorsHeaders(listed.headers)).toEqual(readable(otherOrigin));
  });

  it.each<[number, () => Promise<Response>]>([
    [400, () => fetchFrom('/graphql', { method: 'POST', body: '{' })],
    [401, () => graphql('{ viewer { __typename } }', { authorization: 'Bearer unknown-key' })],
    [401, () => fetchFrom(okta, { headers: { authorization: 'Bearer unknown-key' } })],
    [404, () => fetchFrom(`${okta}/7ffbb072-2575-495a-b5b0-127f88caef78`)],
    [404, () => fetchFrom('/graphql/')],
    [405, () => fetchFrom('/graphql', { method: 'DELETE' })],
    [405, () => fetchFrom(okta, { method: 'PUT' })],
    [413, () => graphql('x'.repeat(200_000))],
    [413, () => fetchFrom(okta, { method: 'POST', body: JSON.stringify({ name: 'x'.repeat(200_000) }) })],
    [415, () => graphql('{ __typename }', { 'content-type': 'text/plain' })],
    [422, () => fetchFrom(okta, { method: 'POST', body: '{}' })],
    [
      503,
      () =>
        fetchFrom(okta, {
          method: 'POST',
          body: JSON.stringify(oktaBody({ name: 'limited' }, { apiToken: 'limited' })),
        }),
    ],
  ])('error responses: %i', async (status, send) => {
    const response = await send();
    expect(response.status).toBe(status);
    expect(getCorsHeaders(response.headers)).toEqual(readable(origin));
    expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('internal errors', async () => {
    const broken = await startTestServer({ config: { corsOrigins: new Set([origin]) } });
    const { apiKey } = await broken.newOrganisation();
    await broken.asOwner().execute('drop table app_connection cascade');
    const { status, headers } = await restClient(broken.url, apiKey)('GET', okta, undefined, { origin });
    expect(status).toBe(500);
    expect(getCorsHeaders(headers)).toEqual(readable(origin));
    await broken.close();
  });

  it('events of a subscription', async () => {
    await using subscription = await subscribe(
      server.graphqlUrl,
      organisation.apiKey,
      'subscription { appConnectionChanged { kind } }',
      {},
      { origin },
    );
    expect(getCorsHeaders(subscription.headers)).toEqual(readable(origin));
    await createConnectionOverRest(restClient(server.url, organisation.apiKey), { name: 'while-watching' });
    expect(await subscription.next()).toEqual({ data: { appConnectionChanged: { kind: 'CREATED' } } });
  });

  it('the error about an unknown Host, and nothing else under that Host', async () => {
    const lines = [`Origin: ${origin}`, 'Host: evil.example', 'Connection: close'];
    for (const line of ['GET /graphql', 'OPTIONS /graphql']) {
      const more = ['Accept: text/html', 'Access-Control-Request-Method: POST', '', ''];
      const bytes = [`${line} HTTP/1.1`, ...lines, ...more].join('\r\n');
      const { status, headers } = await sendRaw(server.url, bytes);
      expect(status).toBe(421);
      expect(getCorsHeaders(headers)).toEqual(readable(origin));
    }
  });

  it('the page of GraphiQL, which contains no key', async () => {
    const response = await fetchFrom('/graphql', { headers: { accept: 'text/html' } });
    const page = await response.text();
    expect(page).toContain('createOktaConnection(input: $input)');
    expect(page).not.toContain('the-key-of-one-time-codes-is-in-no-page');
  });
});

describe('a cross-site request according to Sec-Fetch headers', () => {
  const from = (site: string, mode: string, dest: string) => ({
    'sec-fetch-site': site,
    'sec-fetch-mode': mode,
    'sec-fetch-dest': dest,
  });
  const navigation = from('cross-site', 'navigate', 'document');
  const evil = { origin: 'https://evil.example' };

  it.each<[string, string, string, Record<string, string>]>([
    ['a query', 'POST', '/graphql', { ...from('cross-site', 'cors', 'empty'), ...evil }],
    ['a query in a URL', 'GET', '/graphql?query={__typename}', from('cross-site', 'no-cors', 'image')],
    ['a page in a frame', 'GET', '/', from('cross-site', 'navigate', 'iframe')],
    ['a form', 'POST', '/', { ...navigation, ...evil }],
    ['a link to REST', 'GET', '/api/v1/openapi.json', navigation],
    ['a script', 'GET', '/assets/index.js', from('cross-site', 'no-cors', 'script')],
    ['health', 'GET', '/health/ready', from('same-site', 'no-cors', 'empty')],
    ['a query of another port', 'POST', '/graphql', { ...from('same-site', 'cors', 'empty'), ...evil }],
    ['a preflight', 'OPTIONS', '/graphql', { ...from('cross-site', 'cors', 'empty'), ...evil }],
    ['an unknown Sec-Fetch-Site value', 'POST', '/graphql', from('from-afar', 'cors', 'empty')],
  ])('is rejected: %s', async (_, method, path, headers) => {
    const authorization = `Bearer ${organisation.apiKey}`;
    const response = await request(server.url + path, { method, headers: { authorization, ...headers } });
    expect(response.status).toBe(403);
    expect(response.text).toMatch(/CORS_ORIGINS/);
    expect(response.headers['access-control-allow-origin']).toBeUndefined();
  });

  it('is accepted as a navigation to a page', async () => {
    const headers = { ...navigation, accept: 'text/html' };
    expect((await request(`${server.url}/graphql`, { headers })).text).toContain('GraphiQL');
    expect((await request(server.url, { headers })).status).not.toBe(403);
    const bare = await startTestServer({ beside: server, config: { graphiql: false } });
    const asked = await request(`${bare.url}/graphql?query={__typename}`, { headers });
    await bare.close();
    expect(asked.status).toBe(403);
  });

  it('is accepted from a configured origin', async () => {
    const headers = {
      ...from('cross-site', 'cors', 'empty'),
      authorization: `Bearer ${organisation.apiKey}`,
    };
    for (const path of [okta, '/graphql?query={__typename}']) {
      const { status } = await request(server.url + path, { headers: { ...headers, origin } });
      expect(status).toBe(200);
    }
  });

  it('is accepted when it is same-origin or has no site', async () => {
    for (const site of ['same-origin', 'none']) {
      const headers = { ...from(site, 'cors', 'empty'), authorization: `Bearer ${organisation.apiKey}` };
      expect((await request(server.url + okta, { headers })).status).toBe(200);
    }
  });
});

describe('a page of another origin', () => {
  it('gets no CORS headers, while a request without Sec-Fetch headers is processed as from any client', async () => {
    const from = 'https://evil.example';
    const response = await fetchFrom(
      '/graphql',
      {
        method: 'POST',
        body: JSON.stringify({ query: createMutation, variables: oktaInput({ name: 'from-elsewhere' }) }),
      },
      from,
    );
    expect(await response.json()).toHaveProperty('data.createOktaConnection.appConnection.id');
    expect(getCorsHeaders(response.headers)).toEqual(noCorsHeaders);
    const failed = await graphql('{ viewer { __typename } }', { authorization: '', cookie: 'key=a' }, from);
    expect(failed.status).toBe(401);
    expect(getCorsHeaders(failed.headers)).toEqual(noCorsHeaders);
  });

  it('gets no CORS headers and no Vary header when no origin is configured', async () => {
    const closed = await startTestServer();
    for (const method of ['OPTIONS', 'POST']) {
      const response = await fetch(closed.graphqlUrl, {
        method,
        headers: { origin, 'access-control-request-method': 'POST' },
      });
      expect(getCorsHeaders(response.headers)).toEqual({});
    }
    await closed.close();
  });
});

describe('CORS_ORIGINS', () => {
  const production = {
    NODE_ENV: 'production',
    DATABASE_URL: 'postgresql://127.0.0.1/somewhere',
    ENCRYPTION_KEYS: 'k1:none',
  };
  const origins = (list: string, environment = {}) =>
    readConfig({ ...environment, CORS_ORIGINS: list }).corsOrigins;

  it('accepts a comma-separated list of origins', () => {
    expect([...readConfig({}).corsOrigins]).toEqual([]);
    expect([...origins('https://app.example, http://localhost:5173,https://APP.example:8443')]).toEqual([
      'https://app.example',
      'http://localhost:5173',
      'https://app.example:8443',
    ]);
    const local = 'http://localhost:5173,http://127.0.0.1:3000,http://[::1]:3000';
    expect([...origins(`${local},https://app.example`, production)]).toHaveLength(4);
  });

  it.each([
    ['*', /^CORS_ORIGINS must name every origin; "\*"/],
    ['https://app.example,*', /^CORS_ORIGINS must name every origin; "\*"/],
    ['null', /^CORS_ORIGINS must be origins/],
    ['app.example', /^CORS_ORIGINS must be origins/],
    ['https://app.example/', /^CORS_ORIGINS must be origins/],
    ['https://app.example/path', /^CORS_ORIGINS must be origins/],
    ['https://app.example:443', /^CORS_ORIGINS must be origins/],
    ['https://*.app.example', /^CORS_ORIGINS must name every origin; "\*"/],
    ['https://me:secret@app.example', /^CORS_ORIGINS must be origins/],
    ['file:///home', /^CORS_ORIGINS must be origins/],
    ['https://app.example https://b.example', /^CORS_ORIGINS must be origins/],
  ])('rejects %s in every environment', (list, message) => {
    for (const environment of [{}, production]) {
      expect(() => origins(list, environment)).toThrow(message);
    }
  });

  it('rejects http:// origins in production, but not in development', () => {
    expect([...origins('http://app.example')]).toEqual(['http://app.example']);
    expect(() => origins('http://app.example', production)).toThrow(/^CORS_ORIGINS must start with https:/);
  });
});
