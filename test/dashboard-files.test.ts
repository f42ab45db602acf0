import { request as httpRequest } from 'node:http';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { buildDashboard } from './testkit/dashboard.ts';
import { startProvider, type TestProvider } from './testkit/oidc.ts';
import { temporaryFolder } from './testkit/process.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

let folder: string;
let server: TestServer;
beforeAll(async () => {
  folder = await buildDashboard();
  server = await startTestServer({ dashboardFolder: folder });
});
afterAll(async () => {
  await server.close();
});

interface RawResponse {
  status: number;
  headers: Readonly<Record<string, unknown>>;
  body: Buffer;
}

/** Sends a raw request: fetch would normalise the path and decompress the body. */
function get(
  path: string,
  headers: Record<string, string> = {},
  { of = server, method = 'GET' } = {},
): Promise<RawResponse> {
  const { hostname, port } = new URL(of.url);
  return new Promise((resolve, reject) => {
    httpRequest(
      { hostname, port, path, method, headers: { host: `localhost:${port}`, ...headers } },
      async (response) => {
        const body = Buffer.concat(await response.toArray());
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
      },
    )
      .on('error', reject)
      .end();
  });
}

async function scriptPath(): Promise<string> {
  const page = (await get('/')).body.toString();
  return /<script[^>]+src="\.(\/assets\/[^"]+\.js)"/.exec(page)?.[1] ?? '';
}

describe('files of the dashboard', () => {
  it('have a Content-Security-Policy that allows only own files', async () => {
    const { status, headers, body } = await get('/');
    expect(status).toBe(200);
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
    expect(headers['cache-control']).toBe('no-store');
    expect(headers['x-frame-options']).toBe('DENY');
    const page = body.toString();
    expect(page).not.toMatch(/(src|href)="(https?:)?\/\//);
    expect(page).not.toMatch(/ style=|<style| on\w+=/);
  });
});

describe('the dashboard with an identity provider', () => {
  let provider: TestProvider;
  beforeAll(async () => {
    provider = await startProvider();
  });
  afterAll(() => provider.stop());

  async function start(overrides: Record<`OIDC_${string}`, string> = {}): Promise<TestServer> {
    const { oidc } = provider.settings({ OIDC_CLIENT_ID: 'the-dashboard', ...overrides });
    const other = await startTestServer({ dashboardFolder: folder, beside: server, config: { oidc } });
    onTestFinished(() => other.close());
    return other;
  }

  async function getPage(other: TestServer) {
    const { status, headers, body } = await get('/', {}, { of: other });
    const settings = /<script type="application\/json" id="settings">(.*?)<\/script>/.exec(
      body.toString(),
    )?.[1];
    expect(status).toBe(200);
    return { policy: String(headers['content-security-policy']), told: JSON.parse(settings ?? '').oidc };
  }

  it('allows connections to the origin of the token endpoint and no other', async () => {
    const { policy, told } = await getPage(await start());
    expect(policy).toContain(`connect-src 'self' ${provider.issuer};`);
    expect(policy.match(/https?:/g)).toHaveLength(1);
    expect(told).toMatchObject({
      clientId: 'the-dashboard',
      scopes: 'openid connections:read connections:write connections:verify connections:use audit:read',
      provider: { token_endpoint: `${provider.issuer}/token` },
    });
    const { told: other } = await getPage(await start({ OIDC_SCOPES: 'openid, offline_access' }));
    expect(other.scopes).toBe('openid offline_access');
  });

  it('loads and allows no other origin when the provider is unreachable or its metadata is invalid', async () => {
    const other = await start();
    onTestFinished(() => provider.answer('/.well-known/openid-configuration'));
    const { issuer } = provider;
    const defaults = { issuer, authorization_endpoint: `${issuer}/auth`, token_endpoint: `${issuer}/token` };
    for (const overrides of [
      undefined,
      { issuer: 'https://another.example' },
      { authorization_endpoint: undefined },
      { end_session_endpoint: 'javascript:alert()' },
      { token_endpoint: 'https://a;script-src.example' },
    ]) {
      provider.answer('/.well-known/openid-configuration', (request, response) => {
        if (overrides) response.end(JSON.stringify({ ...defaults, ...overrides }));
        else request.socket.destroy();
      });
      const { policy, told } = await getPage(other);
      expect(policy).toContain("connect-src 'self';");
      expect(told).toMatchObject({ clientId: 'the-dashboard' });
      expect(told.provider).toBeUndefined();
    }
    provider.answer('/.well-known/openid-configuration');
    expect((await getPage(other)).told.provider).toBeDefined();
  });
});

describe('serving the dashboard', () => {
  it('uses a different nonce for each page', async () => {
    const getNonce = ({ headers }: RawResponse) =>
      /'nonce-([^']+)'/.exec(String(headers['content-security-policy']))?.[1];
    const nonces = (await Promise.all([get('/'), get('/')])).map(getNonce);
    expect(nonces[0]).toMatch(/^[\w+/]{24}$/);
    expect(nonces[0]).not.toBe(nonces[1]);
  });

  it('serves the smallest accepted encoding and answers 304 for an unchanged file', async () => {
    const path = await scriptPath();
    const plain = await get(path);
    const brotli = await get(path, { 'accept-encoding': 'gzip, deflate, br' });
    const gzip = await get(path, { 'accept-encoding': 'gzip, br;q=0' });
    expect(plain.headers['content-encoding']).toBeUndefined();
    expect(brotli.headers['content-encoding']).toBe('br');
    expect(gzip.headers['content-encoding']).toBe('gzip');
    expect(brotliDecompressSync(brotli.body).equals(plain.body)).toBe(true);
    expect(gunzipSync(gzip.body).equals(plain.body)).toBe(true);
    expect(plain.headers['cache-control']).toBe('public, max-age=31536000, immutable');
    expect(plain.headers['content-type']).toBe('text/javascript; charset=utf-8');
    const again = await get(path, { 'accept-encoding': 'br', 'if-none-match': String(brotli.headers.etag) });
    expect([again.status, again.body.length]).toEqual([304, 0]);
    const other = await get(path, { 'if-none-match': String(brotli.headers.etag) });
    expect(other.status).toBe(200);
  });

  it('serves under 135 kB of gzipped script on the first load', async () => {
    const page = (await get('/')).body.toString();
    const paths = [...page.matchAll(/"\.(\/assets\/[^"]+\.js)"/g)].map(([, path]) => path ?? '');
    const sizes = await Promise.all(
      paths.map(async (path) => (await get(path, { 'accept-encoding': 'gzip' })).body.length),
    );
    expect(sizes.length).toBeGreaterThan(0);
    expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(135_000);
  });

  it.each([
    '/assets/../index.html',
    '/assets/..%2findex.html',
    '/../package.json',
    '/assets/',
    '/index.html',
    '/assets/nothing.js',
    '/assets/__proto__',
  ])('answers 404 for %s', async (path) => {
    expect((await get(path)).status).toBe(404);
  });

  it('accepts only GET and HEAD for files', async () => {
    const { status, headers } = await get('/', {}, { method: 'POST' });
    expect([status, headers.allow]).toEqual([405, 'GET, HEAD']);
  });

  it.each(['evil.example', '127.0.0.1.evil.example'])('rejects the Host %s (DNS rebinding)', async (host) => {
    const { status, body } = await get('/', { host });
    expect(status).toBe(421);
    expect(body.toString()).not.toContain('settings');
  });

  it('explains how to build the dashboard when it is missing, while the API works', async () => {
    using empty = temporaryFolder();
    const bare = await startTestServer({ dashboardFolder: empty.path });
    const { status, body } = await get('/', {}, { of: bare });
    expect(status).toBe(503);
    expect(body.toString()).toMatch(
      /^The dashboard is not built; "npm install --include=dev && npm run dashboard" builds it\..*\n$/,
    );
    expect((await get('/assets/index.js', {}, { of: bare })).status).toBe(404);
    const { client } = await bare.newOrganisation();
    expect(await client.request('{ appConnections { totalCount } }')).toEqual({
      appConnections: { totalCount: 0 },
    });
    await bare.close();
  }, 60_000);
});
