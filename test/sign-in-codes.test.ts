import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { buildDashboard } from './testkit/dashboard.ts';
import { sendRaw } from './testkit/raw-http.ts';
import { startTestServer, type TestServer, type TestServerOptions } from './testkit/server.ts';
import { exchange, exchangeHeaders, parseSignInCode, sendAsBrowser } from './testkit/sign-in-code.ts';

const apiKey = 'the-key-that-one-time-codes-are-exchanged-for';
const signInKey = new Secret(apiKey);
const minuteMs = 60_000;
let now = Date.now();
let folder: string;
let server: TestServer;
beforeAll(async () => {
  folder = await buildDashboard();
  server = await start();
});
afterAll(async () => {
  await server.close();
});

function start(options: TestServerOptions = {}): Promise<TestServer> {
  return startTestServer({
    dashboardFolder: folder,
    signInKey,
    signInCodes: { now: () => now },
    ...options,
  });
}

async function another(options: TestServerOptions): Promise<TestServer> {
  const other = await start({ beside: server, database: server.database, ...options });
  onTestFinished(() => other.close());
  return other;
}

describe('one-time sign-in code', () => {
  test("is in the fragment of the dashboard's URL, has 256 bits, and is unique", () => {
    const links = [server.signInLink(), server.signInLink()];
    for (const link of links) expect(link).toMatch(new RegExp(`^${server.url}/#code=[\\w-]{43}$`));
    expect(links[0]).not.toBe(links[1]);
  });

  test('is exchanged for the API key once', async () => {
    const code = parseSignInCode(server.signInLink());
    const first = await exchange(server.url, code);
    expect([first.status, JSON.parse(first.text)]).toEqual([200, { apiKey }]);
    expect(first.headers['cache-control']).toBe('no-store');
    const second = await exchange(server.url, code);
    expect(second.status).toBe(403);
    expect(second.text).not.toContain(apiKey);
  });

  test('is exchanged once for 20 concurrent attempts', async () => {
    const code = parseSignInCode(server.signInLink());
    const answers = await Promise.all(Array.from({ length: 20 }, () => exchange(server.url, code)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ text }) => text.includes(apiKey))).toHaveLength(1);
  });

  test('expires after exactly ten minutes', async () => {
    const codes = [parseSignInCode(server.signInLink()), parseSignInCode(server.signInLink())];
    now += 10 * minuteMs - 1;
    expect((await exchange(server.url, codes[0] ?? '')).status).toBe(200);
    now += 1;
    expect((await exchange(server.url, codes[1] ?? '')).status).toBe(403);
  });

  test('is unknown after a restart', async () => {
    const before = await start({ beside: server, database: server.database });
    const code = parseSignInCode(before.signInLink());
    await before.close();
    const after = await another({});
    expect((await exchange(after.url, code)).status).toBe(403);
  });

  test('is exchanged regardless of earlier wrong codes, which are rate-limited', async () => {
    const other = await another({});
    const code = parseSignInCode(other.signInLink());
    const wrong = (index: number) => exchange(other.url, `${code}${index}`);
    for (let tries = 0; tries < 20; tries += 1) expect((await wrong(tries)).status).toBe(403);
    for (let tries = 20; tries < 60; tries += 1) {
      const { status, headers } = await wrong(tries);
      expect([status, headers['retry-after']]).toEqual([429, '60']);
    }
    expect((await exchange(other.url, code)).status).toBe(200);
    now += minuteMs;
    expect((await wrong(60)).status).toBe(403);
  });

  const page = (url: string) => ({ origin: url, 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' });

  test("is exchanged by the server's own page, under each of its host names", async () => {
    for (const url of [server.url, server.url.replace('127.0.0.1', 'localhost')]) {
      expect((await exchange(url, parseSignInCode(server.signInLink()), page(url))).status).toBe(200);
    }
  });

  test.each<[string, Record<string, string>]>([
    ['another site', { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }],
    ['another port of this machine', { origin: 'http://127.0.0.1:1', 'sec-fetch-site': 'same-site' }],
    ['another site whose browser sends no Sec-Fetch-Site', { origin: 'https://evil.example' }],
    ['a sandboxed frame', { origin: 'null', 'sec-fetch-site': 'cross-site' }],
    ['a named origin of CORS_ORIGINS', { origin: 'https://app.example', 'sec-fetch-site': 'cross-site' }],
    ['this machine over TLS that ends before the server', { origin: 'https://127.0.0.1' }],
  ])('is not exchanged or used up by a page of %s', async (_, headers) => {
    const other = await another({ config: { corsOrigins: new Set(['https://app.example']) } });
    const code = parseSignInCode(other.signInLink());
    const { status, text } = await exchange(other.url, code, headers);
    expect(status).toBe(403);
    expect(text).not.toContain(apiKey);
    expect((await exchange(other.url, code)).status).toBe(200);
  });

  test.each(['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'])(
    'is not exchanged in a body of %s, which a form or another page could send',
    async (type) => {
      const code = parseSignInCode(server.signInLink());
      expect((await exchange(server.url, code, { 'content-type': type })).status).toBe(415);
      expect((await exchange(server.url, code)).status).toBe(200);
    },
  );

  test('is not exchanged by any method but POST, or from the URL', async () => {
    const code = parseSignInCode(server.signInLink());
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const url = `${server.url}/sign-in/exchange?code=${code}`;
      const { status, headers, text } = await sendAsBrowser(url, { method, headers: exchangeHeaders });
      expect([status, headers.allow]).toEqual([405, 'POST']);
      expect(text).not.toContain(apiKey);
    }
    expect((await exchange(server.url, code)).status).toBe(200);
  });

  test.each([
    ['nothing', ''],
    ['no JSON', '{"code":'],
    ['null', 'null'],
    ['an object in place of the code', '{"code":{"length":43}}'],
    ['an empty code', '{"code":""}'],
    ['a megabyte', JSON.stringify({ code: 'x'.repeat(1_000_000) })],
  ])('is rejected in a body of %s', async (_, body) => {
    const url = `${server.url}/sign-in/exchange`;
    const { status } = await sendAsBrowser(url, { method: 'POST', headers: exchangeHeaders, body });
    expect(status).toBe(403);
  });

  test.each(['evil.example', '127.0.0.1.evil.example'])(
    'is not exchanged under the host name %s',
    async (host) => {
      const { status } = await exchange(server.url, parseSignInCode(server.signInLink()), { host });
      expect(status).toBe(421);
    },
  );

  test.each<[string, TestServerOptions]>([
    ['in production', { config: { production: true } }],
    ['in production with GraphiQL', { config: { production: true, graphiql: true } }],
    ['where others on the network reach the server', { config: { host: '0.0.0.0' } }],
    ['without a key that works', { signInKey: undefined }],
  ])('does not exist %s', async (_, options) => {
    const other = await another(options);
    expect(other.signInLink()).toBeUndefined();
    const { status } = await exchange(other.url.replace('0.0.0.0', '127.0.0.1'), 'x'.repeat(43));
    expect(status).toBe(404);
  });

  test('opens GraphiQL without a dashboard, and is not printed without either', async () => {
    const without = { dashboardFolder: `${folder}/assets` };
    const other = await another(without);
    expect(other.signInLink()).toMatch(new RegExp(`^${other.url}/graphql#code=[\\w-]{43}$`));
    expect((await exchange(other.url, parseSignInCode(other.signInLink()))).status).toBe(200);
    const bare = await another({ ...without, config: { graphiql: false } });
    expect(bare.signInLink()).toBeUndefined();
  });
});

describe('no response contains the API key', () => {
  const paths = [
    ...['/', '/graphql', '/graphql?query={__typename}', '/sign-in/exchange', '/health/live', '/health/ready'],
    ...['/api/v1/openapi.json', '/api/v1/app-connections', '/index.html', '/nowhere'],
  ];
  /** Requests of proxies that forward little or nothing about the client. */
  const shapes: Record<string, Record<string, string>> = {
    'nginx with nothing but proxy_pass': { connection: 'close' },
    'a proxy that sends X-Real-IP': { 'x-real-ip': '192.0.2.7' },
    Cloudflare: { 'cf-connecting-ip': '192.0.2.7', 'cf-ray': '8a', 'cdn-loop': 'cloudflare' },
    "Vite's proxy": {
      host: 'localhost:5173',
      origin: 'http://localhost:5173',
      'sec-fetch-site': 'same-origin',
    },
    'a browser on this machine': {
      'sec-fetch-site': 'none',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
    },
    'a proxy that forwards the client address': { 'x-forwarded-for': '192.0.2.7', via: '1.1 proxy' },
  };

  async function answers(of: TestServer, headers: Record<string, string>): Promise<string> {
    const all = paths.map((path) => {
      const accept = path.includes('?') || path.startsWith('/api') ? 'application/json' : 'text/html,*/*';
      return sendAsBrowser(of.url + path, { headers: { ...headers, accept } });
    });
    const found = (await Promise.all(all)).map(({ text, headers: given }) => JSON.stringify(given) + text);
    return found.join('\n');
  }

  test('detects a response that contains the key (self-check)', async () => {
    const { text, headers } = await exchange(server.url, parseSignInCode(server.signInLink()));
    expect(JSON.stringify(headers) + text).toContain(apiKey);
  });

  test.each(Object.entries(shapes))('when sent to %s in development', async (_, headers) => {
    const found = await answers(server, headers);
    expect(found).toContain('createOktaConnection(input: $input)');
    expect(found).toContain('id="settings"');
    expect(found).not.toContain(apiKey);
    expect(found).not.toContain(Buffer.from(apiKey).toString('base64').slice(0, -4));
  });

  test.each(['127.0.0.1', 'localhost', 'evil.example', 'connections.example'])(
    'when sent in production with GRAPHIQL=on to Host: %s',
    async (host) => {
      const other = await another({ config: { production: true, graphiql: true } });
      const found = await answers(other, { host });
      expect(found).toContain('createOktaConnection(input: $input)');
      expect(found).not.toContain(apiKey);
    },
  );

  test('when sent over HTTP/1.0 without X-Forwarded-For, as nginx does', async () => {
    for (const path of ['/', '/graphql']) {
      const request = `GET ${path} HTTP/1.0\r\nHost: 127.0.0.1:4000\r\nAccept: text/html\r\n\r\n`;
      const { status, text } = await sendRaw(server.url, request);
      expect(status).toBe(200);
      expect(text).not.toContain(apiKey);
    }
  });
});
