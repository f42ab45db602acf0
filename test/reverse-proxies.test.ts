import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readConfig } from '../src/config/read-config.ts';
import { buildDashboard } from './testkit/dashboard.ts';
import { hasNginx, type Nginx, startNginx } from './testkit/nginx.ts';
import { at, createConnectionOverRest, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

const subscription = 'subscription { appConnectionChanged { kind appConnection { name } } }';

describe.skipIf(!hasNginx())("server behind nginx with Debian's configuration", () => {
  let server: TestServer;
  let nginx: Nginx;
  let apiKey: string;
  beforeAll(async () => {
    server = await startTestServer();
    nginx = await startNginx('');
    ({ apiKey } = await server.newOrganisation());
  });
  afterAll(async () => {
    await nginx?.[Symbol.asyncDispose]();
    await server?.close();
  });

  test.each([
    ['with nothing but proxy_pass, which speaks HTTP/1.0', ''],
    ['with HTTP/1.1 and keep-alive', 'proxy_http_version 1.1; proxy_set_header Connection "";'],
    ['with large buffers', 'proxy_buffers 16 64k; proxy_buffer_size 64k;'],
    ['with compression of everything', 'gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1;'],
  ])('delivers subscription events immediately: %s', async (_, settings) => {
    await nginx.configure(`location / { proxy_pass ${server.url}; ${settings} }`);
    await using events = await subscribe(
      `${nginx.url}/graphql`,
      apiKey,
      subscription,
      {},
      {
        'accept-encoding': 'gzip',
      },
    );
    const names = [`first-${settings.length}`, `second-${settings.length}`];
    for (const name of names) {
      await createConnectionOverRest(restClient(server.url, apiKey), { name });
      expect(await events.next()).toEqual({
        data: { appConnectionChanged: { kind: 'CREATED', appConnection: { name } } },
      });
    }
    expect(events.headers.get('content-type')).toMatch(/^text\/event-stream/);
  });

  test('returns the reason for an upload that nginx accepts and the server refuses', async () => {
    await nginx.configure(`client_max_body_size 0; location / { proxy_pass ${server.url}; }`);
    for (const settings of ['', 'proxy_request_buffering off; proxy_http_version 1.1;']) {
      await nginx.configure(`client_max_body_size 0; location / { proxy_pass ${server.url}; ${settings} }`);
      const answer = await restClient(nginx.url, apiKey)('POST', '/graphql', ' '.repeat(8_000_000));
      expect([settings, answer.status]).toEqual([settings, 413]);
    }
  });
});

describe.skipIf(!hasNginx())('server under BASE_PATH=/connections', () => {
  let server: TestServer;
  let nginx: Nginx;
  let apiKey: string;
  beforeAll(async () => {
    server = await startTestServer({
      config: { basePath: '/connections' },
      dashboardFolder: await buildDashboard(),
    });
    nginx = await startNginx('');
    const organisation = await server.newOrganisation();
    ({ apiKey } = organisation);
    for (const name of ['one', 'two', 'three'])
      await createConnectionOverRest(restClient(server.url, apiKey), { name });
  });
  afterAll(async () => {
    await nginx?.[Symbol.asyncDispose]();
    await server?.close();
  });
  const origin = () => new URL(server.url).origin;

  describe.each([
    ['no proxy', () => undefined],
    ['a proxy that passes the path on', () => `location /connections { proxy_pass ${origin()}; }`],
    [
      'a proxy that takes the path off',
      () => `location /connections/ { proxy_pass ${origin()}/; absolute_redirect off; }`,
    ],
  ])('behind %s', (_, locations) => {
    let base: string;
    beforeAll(async () => {
      const configuration = locations();
      if (configuration) await nginx.configure(configuration);
      base = configuration ? `${nginx.url}/connections` : server.url;
    });

    test('serves the dashboard with its files, with and without the final slash', async () => {
      const bare = await fetch(base, { redirect: 'manual' });
      expect([301, 308]).toContain(bare.status);
      expect(new URL(bare.headers.get('location') ?? '', base).href).toBe(`${base}/`);
      const response = await fetch(base);
      expect(response.url).toBe(`${base}/`);
      const page = await response.text();
      const names = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, name = '']) => name);
      expect(names.length).toBeGreaterThan(2);
      for (const name of names) {
        const url = new URL(name, response.url);
        expect(url.pathname).toMatch(/^\/connections\/assets\//);
        expect([url.href, (await fetch(url)).status]).toEqual([url.href, 200]);
      }
    });

    test('serves GraphiQL, GraphQL and subscriptions', async () => {
      const page = await fetch(`${base}/graphql`, { headers: { accept: 'text/html' } });
      expect(await page.text()).toContain('createOktaConnection(input: $input)');
      const headers = { authorization: `Bearer ${apiKey}` };
      const answer = await fetch(`${base}/graphql?query={viewer{__typename}}`, { headers });
      expect(await answer.json()).toEqual({ data: { viewer: { __typename: 'Viewer' } } });
      await using events = await subscribe(`${base}/graphql`, apiKey, subscription);
      const { id } = await createConnectionOverRest(restClient(origin(), apiKey), { name: 'four' });
      expect(at(await events.next(), 'data', 'appConnectionChanged', 'kind')).toBe('CREATED');
      await restClient(origin(), apiKey)('DELETE', `/api/v1/app-connections/okta/${id}?purge=true`);
    });

    test('serves REST with working links and an OpenAPI document with its URL', async () => {
      const rest = restClient(base, apiKey);
      const names: unknown[] = [];
      let next: string | undefined = `${base}/api/v1/app-connections?limit=2`;
      while (next) {
        const { body, headers } = await rest('GET', next);
        names.push(...Object(at(body, 'appConnections')).map(({ name }: { name: string }) => name));
        const [, link] = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '') ?? [];
        if (link) expect(link).toMatch(/^\/connections\/api\/v1\/app-connections\?/);
        next = link && new URL(link, next).href;
      }
      expect(names).toEqual(['one', 'three', 'two']);
      const { body } = await rest('GET', `${base}/api/v1/openapi.json`);
      expect(at(body, 'servers')).toEqual([{ url: '/connections' }]);
    });

    test('serves health checks, and a 404 that lists the paths', async () => {
      expect((await fetch(`${base}/health/live`)).status).toBe(200);
      const { status, text } = await restClient(base)('GET', `${base}/nowhere`);
      expect(status).toBe(404);
      expect(text).toContain('GraphQL at /connections/graphql');
    });
  });

  test('serves health checks also without the base path, for load balancers', async () => {
    expect((await fetch(`${origin()}/health/ready`)).status).toBe(200);
  });

  test.each(['/connectionsgraphql', '/Connections/graphql', '/connections//graphql', '/other/graphql'])(
    'returns 404 for %s',
    async (path) => {
      expect((await fetch(origin() + path)).status).toBe(404);
    },
  );
});

describe('BASE_PATH', () => {
  test.each([
    ['/connections', '/connections'],
    ['/connections/', '/connections'],
    ['/a/b-c/d.e', '/a/b-c/d.e'],
    ['/apis', '/apis'],
    ['/', ''],
    ['', ''],
  ])('normalizes %s to %s', (given, basePath) => {
    expect(readConfig({ BASE_PATH: given }).basePath).toBe(basePath);
  });

  test.each([
    'connections',
    '/api',
    '/api/connections',
    '/graphql',
    '/health/',
    '/assets',
    '/sign-in',
    '/a//b',
    '/a/../b',
    '/./a',
    '/a b',
    '/a?b',
    'https://example.com/a',
    '//example.com',
    '/a"><b>',
  ])('rejects %s with the expected format', (given) => {
    expect(() => readConfig({ BASE_PATH: given })).toThrow(
      /^BASE_PATH must be a path such as \/connections, /,
    );
  });
});
