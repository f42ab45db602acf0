import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { parseRange } from '../src/http/client-ip.ts';
import { scopes } from '../src/identity/caller.ts';
import { type Behaviour, startOkta, type TestOkta, withToken } from './testkit/okta.ts';
import { type JournalEntry, type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { sendRaw } from './testkit/raw-http.ts';
import { at, createConnectionOverRest, restClient } from './testkit/rest.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

const token = '00QCjAl4MlV-WPXM_A5B6C7D8E9F0GhIjKlMnOpQrS';
const proxyDomain = 'connect.example.com';
let okta: OktaStandIn;
/** An Okta that does what a test says. */
let host: TestOkta;
let server: TestServer;
let organisation: TestOrganisation;
let connectionId: string;

beforeAll(async () => {
  okta = await startOktaStandIn();
  host = await startOkta();
  server = await startTestServer({
    config: { trustedInstanceHosts: new Set([okta.hostPort, host.hostPort]), proxyDomain },
  });
  organisation = await server.newOrganisation();
  connectionId = await createConnection(organisation, okta.origin);
});
afterAll(async () => {
  await server.close();
  await host.close();
  await okta[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await okta.takeJournal();
});

let connections = 0;
async function createConnection(
  { apiKey }: { apiKey: string },
  instanceUrl: string,
  differing: { apiToken?: string; projectId?: string } = {},
  at = server,
): Promise<string> {
  connections += 1;
  const { apiToken = token, ...fields } = differing;
  const { id } = await createConnectionOverRest(restClient(at.url, apiKey), {
    name: `connection-${connections}`,
    credentials: { instanceUrl, apiToken },
    ...fields,
  });
  const rules = [{ effect: 'ALLOW', path: '/**' }];
  const { status } = await restClient(at.url, apiKey)(
    'PUT',
    `/api/v1/app-connections/okta/${id}/use-policy`,
    {
      rules,
    },
  );
  expect(status).toBe(200);
  return id;
}

const route = (id = connectionId) => `/api/v1/app-connections/okta/${id}/proxy`;

/** Sends a request through the connection. */
function use(path: string, init: RequestInit = {}, id?: string): Promise<Response> {
  const authorization = `Bearer ${organisation.apiKey}`;
  return fetch(`${server.url}${route(id)}${path}`, {
    redirect: 'manual',
    ...init,
    headers: { authorization, ...(init.headers as Record<string, string>) },
  });
}

/** Returns headers with names in lower case, those of undici and of the connection left out. */
function parseHeaders({ headers }: JournalEntry): [string, string][] {
  const pairs = headers.flatMap((name, index) =>
    index % 2 === 0 ? [[name.toLowerCase(), headers[index + 1] ?? ''] as [string, string]] : [],
  );
  return pairs.filter(([name]) => name !== 'host' && name !== 'connection');
}

/** Lets the host behave in one way, and returns a new connection to it. */
async function connectTo(behaviour: Behaviour) {
  host.behave(handleFakeOkta);
  const id = await createConnection(organisation, host.origin);
  host.behave(behaviour);
  return { id, ask: (path: string, init: RequestInit = {}) => use(path, init, id) };
}

describe('a response of the proxy', () => {
  it('is UPSTREAM_INVALID_RESPONSE if a read links to a next page that cannot be requested', async () => {
    const { ask } = await connectTo((request, response) => {
      const target = request.url === '/long' ? `/api?${'a'.repeat(8_192)}` : '/api//v1/users';
      response.writeHead(200, { link: `<${target}>; rel="next"` }).end('[]');
    });
    for (const path of ['/long', '/ambiguous']) {
      const refused = await ask(path);
      expect([refused.status, at(await refused.json(), 'code')]).toEqual([502, 'UPSTREAM_INVALID_RESPONSE']);
    }
    // The write was made.
    expect((await ask('/ambiguous', { method: 'POST' })).status).toBe(200);
  });
});

describe('a request through the proxy', () => {
  it.each([
    ['GET', '/api/v1/users?search=profile.login%20eq%20%22a%2Bb%22&&x=%zz+1#', undefined],
    ['POST', '/api/v1/users?activate=false', '{"profile":{"login":"ada@example.com"}}'],
    ['PUT', '/api/v1/groups/00g00000000000000001', 'not\0json'],
    ['PATCH', '/api/v1/users/me', '{}'],
    ['DELETE', '/api/v1/users/ada@example.com', undefined],
  ])('arrives with method, path, query and body as they were sent: %s %s', async (method, path, body) => {
    await use(path, { method, ...(body !== undefined && { body }) });
    const [received, ...others] = await okta.takeJournal();
    expect(others).toEqual([]);
    expect(received).toMatchObject({ method, url: path.replace('#', '') });
    expect(Buffer.from(received?.body ?? '', 'base64').toString()).toBe(body ?? '');
  });

  it('arrives with the credentials of the connection and without those of the caller', async () => {
    const { text } = await sendRaw(
      server.url,
      [
        `GET ${route()}/api/v1/users?limit=1 HTTP/1.1`,
        'Host: localhost',
        `Authorization: Bearer ${organisation.apiKey}`,
        'Cookie: sid=1',
        'Connection: close, X-Hop, x-other-hop, x_third_hop',
        'X-Hop: 1',
        'X-Other-Hop: 1',
        'x_third_hop: 1',
        'Keep-Alive: timeout=5',
        'TE: trailers',
        'Upgrade: websocket',
        'Proxy-Authorization: Basic eDp5',
        'X-Forwarded-For: 1.2.3.4',
        'X-Forwarded-Host: evil.example',
        'X-Forwarded-Proto: https',
        'Forwarded: for=1.2.3.4',
        'Via: 1.1 a',
        'Origin: http://localhost',
        'Referer: http://localhost/',
        'Sec-Fetch-Site: same-origin',
        'X-HTTP-Method-Override: DELETE',
        'X-Original-URL: /api/v1/apps',
        'X_HTTP_Method_Override: DELETE',
        'DPoP: proof',
        'Accept-Encoding: gzip',
        'Range: bytes=0-20',
        'Expect: 100-continue',
        'User-Agent: a client/1.0',
        'Accept: application/json',
        'X-Okta-User-Agent-Extended: sdk',
        'x-twice: 1',
        'X-Twice: 2',
        '',
        '',
      ].join('\r\n'),
    );
    // After "100 Continue".
    expect(text).toContain('HTTP/1.1 200 OK');
    const [received] = await okta.takeJournal();
    if (!received) throw new Error('Nothing arrived.');
    expect(parseHeaders(received)).toEqual([
      ['user-agent', 'a client/1.0'],
      ['accept', 'application/json'],
      ['x-okta-user-agent-extended', 'sdk'],
      ['x-twice', '1'],
      ['x-twice', '2'],
      ['accept-encoding', 'identity'],
      ['authorization', `SSWS ${token}`],
    ]);
  });

  it('is answered with status and headers, but for cookies and headers of the connection', async () => {
    const response = await use('/api/v1/users?limit=1');
    expect(response.status).toBe(200);
    expect(await response.json()).toHaveLength(1);
    const { headers } = response;
    expect(headers.get('content-type')).toBe('application/json');
    expect(headers.get('x-okta-request-id')).toBe('aPBIVl_a-Xrm_Tq-OWMq4gAAABc');
    expect(headers.get('x-rate-limit-limit')).toBe('600');
    expect(headers.get('x-rate-limit-remaining')).toMatch(/^\d+$/);
    expect(headers.get('x-rate-limit-reset')).toMatch(/^\d+$/);
    expect(headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('set-cookie')).toBe(null);
    expect(headers.get('strict-transport-security')).toBe(null);
  });

  it('takes the API key with the scheme SSWS, but no other route does', async () => {
    const headers = { authorization: `SSWS ${organisation.apiKey}` };
    expect((await use('/api/v1/users?limit=1', { headers })).status).toBe(200);
    const elsewhere = await fetch(`${server.url}/api/v1/app-connections`, { headers });
    expect(elsewhere.status).toBe(401);
  });

  it.each(['Content-Length', 'Transfer-Encoding'])(
    'is answered byte for byte with %s, also if the client reads more slowly than the app sends',
    async (framing) => {
      const pieces = Array.from({ length: 256 }, () => randomBytes(128 * 1024 - 1));
      const body = Buffer.concat(pieces);
      const { ask } = await connectTo((_, response) => {
        response.writeHead(200, framing === 'Content-Length' ? { 'content-length': body.length } : {});
        Readable.from(pieces).pipe(response);
      });
      const response = await ask('/api/v1/large');
      const received = createHash('sha256');
      for await (const chunk of response.body ?? []) {
        received.update(chunk);
        await setImmediate();
      }
      expect(received.digest('hex')).toBe(createHash('sha256').update(body).digest('hex'));
    },
  );

  it('is answered with HEAD, 204 and 404 as the app does', async () => {
    const head = await use('/api/v1/stand-in/bytes/1234', { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '1234', '']);
    const removed = await use('/api/v1/groups/00g00000000000000249', { method: 'DELETE' });
    expect([removed.status, await removed.text()]).toEqual([204, '']);
    const missing = await use('/api/v1/nothing');
    expect([missing.status, at(await missing.json(), 'errorCode')]).toEqual([404, 'E0000007']);
  });

  it('is answered with HEAD also where the body would be refused', async () => {
    const announced = { 'content-encoding': 'gzip', 'content-length': String(200 * 1024 * 1024) };
    const { ask } = await connectTo((_, response) => void response.writeHead(200, announced).end());
    const { status, headers } = await ask('/api/v1/users', { method: 'HEAD' });
    expect([status, headers.get('content-length')]).toEqual([200, announced['content-length']]);
  });

  it('reads every page by the links, which lead through the proxy', async () => {
    const applications: unknown[] = [];
    let next: string | undefined = `${server.url}${route()}/api/v1/apps?limit=100`;
    while (next) {
      expect(next.startsWith(`${server.url}${route()}/api/v1/apps?`)).toBe(true);
      const response: Response = await fetch(next, {
        headers: { authorization: `SSWS ${organisation.apiKey}` },
      });
      applications.push(...(await response.json()));
      next = /<([^>]*)>; rel="next"/.exec(response.headers.get('link') ?? '')?.[1];
    }
    expect(applications).toHaveLength(250);
  });

  it('returns locations that lead through the proxy', async () => {
    const { id, ask } = await connectTo((_, response) => {
      response.writeHead(201, { location: `${host.origin}/api/v1/users/1` }).end();
    });
    const { status, headers } = await ask('/api/v1/users', { method: 'POST', body: '{}' });
    expect([status, headers.get('location')]).toEqual([201, `${server.url}${route(id)}/api/v1/users/1`]);
  });

  it('works by host under PROXY_DOMAIN, with links by host', async () => {
    const { status, text, headers } = await sendRaw(
      server.url,
      `GET /api/v1/users?limit=2 HTTP/1.1\r\nHost: ${connectionId}.${proxyDomain}:8443\r\nAuthorization: SSWS ${organisation.apiKey}\r\nConnection: close\r\n\r\n`,
    );
    expect([status, text.includes('00u00000000000000001')]).toEqual([200, true]);
    expect(headers.get('link')).toContain(
      `<http://${connectionId}.${proxyDomain}:8443/api/v1/users?limit=2&after=2>; rel="next"`,
    );
    const [received] = await okta.takeJournal();
    expect(received?.url).toBe('/api/v1/users?limit=2');
  });

  it('passes the rate limit of the app on', async () => {
    await okta.setLimit(0);
    onTestFinished(() => okta.setLimit(600));
    const { status, headers } = await use('/api/v1/users');
    expect([status, headers.get('x-rate-limit-remaining')]).toEqual([429, '0']);
  });
});

describe('links of the proxy', () => {
  it.each<[string, string[], string]>([
    ['a trusted proxy', ['127.0.0.1'], 'https://public.example'],
    ['anyone else', [], ''],
  ])('have the base path, and the origin that is forwarded by %s', async (_, proxies, origin) => {
    const behind = await startTestServer({
      config: {
        trustedInstanceHosts: new Set([okta.hostPort]),
        basePath: '/connections',
        trustedProxies: proxies.map(parseRange).filter((range) => range !== undefined),
      },
    });
    onTestFinished(() => behind.close());
    const { apiKey } = await behind.newOrganisation();
    const id = await createConnection({ apiKey }, okta.origin, {}, behind);
    const response = await fetch(`${behind.url}${route(id)}/api/v1/users?limit=1`, {
      headers: {
        authorization: `Bearer ${apiKey}`,
        'x-forwarded-proto': 'https',
        'x-forwarded-host': 'public.example',
      },
    });
    const expected = origin ? `${origin}/connections` : behind.url;
    expect(response.headers.get('link')).toContain(`<${expected}${route(id)}/api/v1/users?limit=1&after=1>`);
  });

  it('relative to the path of the request stay relative to it', async () => {
    const { id, ask } = await connectTo((_, response) => {
      response.writeHead(201, { location: 'users/1', link: '<?after=2>; rel="next"' }).end();
    });
    const { headers } = await ask('/api/v1/users?limit=1');
    const prefix = `${server.url}${route(id)}/api/v1`;
    expect([headers.get('location'), headers.get('link')]).toEqual([
      `${prefix}/users/1`,
      `<${prefix}/users?after=2>; rel="next"`,
    ]);
  });

  it('that lead to other hosts are not changed', async () => {
    const { id, ask } = await connectTo((_, response) => {
      response
        .writeHead(302, {
          location: '/relative?x=1#y',
          link: [`<https://elsewhere.example/a>; rel="next"`, `<${host.origin}/b>; rel="c", </d>; rel="e"`],
        })
        .end();
    });
    const { status, headers } = await ask('/api/v1/users');
    const prefix = `${server.url}${route(id)}`;
    expect([status, headers.get('location'), headers.get('link')]).toEqual([
      302,
      `${prefix}/relative?x=1#y`,
      `<https://elsewhere.example/a>; rel="next", <${prefix}/b>; rel="c", <${prefix}/d>; rel="e"`,
    ]);
  });
});

describe('headers of a hostile host', () => {
  it('do not command reverse proxies, caches or browsers', async () => {
    const commands = {
      'x-accel-redirect': '/internal',
      'x-sendfile': '/etc/passwd',
      'x-lighttpd-send-file': '/etc/passwd',
      'surrogate-control': 'max-age=600',
      'cdn-cache-control': 'max-age=600',
      'timing-allow-origin': '*',
    };
    const { ask } = await connectTo((_, response) => void response.writeHead(200, commands).end());
    const { status, headers } = await ask('/api/v1/users');
    expect([status, Object.keys(commands).filter((name) => headers.has(name))]).toEqual([200, []]);
  });

  it('link through the proxy only with the scheme of the instance', async () => {
    const blob = `blob:${host.origin}/x`;
    const { ask } = await connectTo((_, response) => void response.writeHead(302, { location: blob }).end());
    expect((await ask('/api/v1/users')).headers.get('location')).toBe(blob);
  });

  it.each<[string, Record<string, string | string[]>]>([
    ['5,000 empty references', { link: Array(5_000).fill('<>').join() }],
    ['2,000 links to other hosts', { link: Array(2_000).fill('<//a.b>').join() }],
    ['4,000 fragments', { link: Array(4_000).fill('<#>').join() }],
    ['repeated links', { link: Array(150).fill('<>; rel="self"') }],
    ['repeated locations', { location: Array(150).fill('') }],
    ['repeated content locations', { 'content-location': Array(150).fill('?') }],
  ])('do not pass with thousands of links: %s', async (_, headers) => {
    const { ask } = await connectTo((_, response) => void response.writeHead(200, headers).end('{}'));
    const path = `/api/v1/${'users/'.repeat(300)}?${'x'.repeat(7_000)}`;
    for (const method of ['GET', 'POST']) {
      const refused = await ask(path, { method });
      expect([refused.status, at(await refused.json(), 'code')]).toEqual([502, 'UPSTREAM_INVALID_RESPONSE']);
    }
    host.behave((_, response) => void response.writeHead(200, { link: '<>; rel="self"' }).end('{}'));
    expect((await ask(path)).status).toBe(200);
  });
});

const nothingWasSent = async () => expect(await okta.takeJournal()).toEqual([]);

describe('the use policy', () => {
  let id: string;
  beforeAll(async () => {
    id = await createConnection(organisation, okta.origin);
    const policy = `/api/v1/app-connections/okta/${id}/use-policy`;
    await restClient(server.url, organisation.apiKey)('PUT', policy, { preset: 'READ_ONLY' });
  });

  it.each([
    ['GET', '/api/v1/apps/0oa00000000000000001/credentials/secrets'],
    ['HEAD', '/api/v1/apps/0oa00000000000000001/credentials/secrets'],
    ['POST', '/api/v1/users'],
    ['DELETE', '/api/v1/users/00u00000000000000001'],
    ['OPTIONS', '/api/v1/users'],
    ['GET', '/oauth2/v1/clients'],
  ])('refuses what it does not allow, before anything is sent: %s %s', async (method, path) => {
    const response = await use(path, { method }, id);
    expect(response.status).toBe(403);
    if (method !== 'HEAD') expect(at(await response.json(), 'code')).toBe('USE_DENIED');
    await nothingWasSent();
  });

  it('decides about the path that is sent, however it is written', async () => {
    const secrets = '/api/v1/apps/x/credentials/secrets';
    const tricks = [
      '/api/v1/users/../apps/x/credentials/secrets',
      '/api/v1/users/%2e%2e/apps/x/credentials/secrets',
      '/api/v1/users/.%2E/apps/x/credentials/secrets',
      '/api/v1/./apps/x/credentials/secrets',
      '/api/v1//apps/x/credentials/secrets',
      '//api/v1/apps/x/credentials/secrets',
      '/api/v1/apps/x/credentials/secrets/',
      '/api/v1/apps/x/credentials/secrets;a=b',
      '/api/v1/apps/x;a=b/credentials/secrets',
      '/api/v1/apps/x/credentials%2Fsecrets',
      '/api/v1/apps/x/credentials%5csecrets',
      '/api/v1/apps/x/credentials\\secrets',
      '/api/v1/apps/x/credentials/%73ecrets',
      '/api/v1/apps/x/credentials/%2573ecrets',
      '/api/v1/apps/x/Credentials/SECRETS',
      '/api/v1/apps/x/credentials/secrets%20',
      '/api/v1/apps/x/credentials/secrets%00',
      '/api/v1/apps/x/credentials/secrets%3fa',
      '/api/v1/apps/x/credentials/secrets#a',
      '/api/v1/apps/x/credentials/%c0%afsecrets',
      '/api/v1/apps/x/credentials/%ef%bd%93ecrets',
      `${secrets}?a=b`,
      '/api/v1/users/x%0d%0aX-Smuggled:%201',
      '/api/v1/users HTTP/1.1\r\nX: 1\r\n\r\nGET ',
    ];
    for (const trick of tricks) {
      await sendRaw(
        server.url,
        `GET ${route(id)}${trick} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${organisation.apiKey}\r\nConnection: close\r\n\r\n`,
      );
      const arrived = (await okta.takeJournal()).map(({ url }) => url);
      const isSecret = arrived.some((url) => /apps|secret|smuggled/i.test(url) || url.includes('%0'));
      expect([trick, isSecret]).toEqual([trick, false]);
    }
  });

  it('takes effect at once when it is changed', async () => {
    const other = await createConnection(organisation, okta.origin);
    expect((await use('/api/v1/users', { method: 'POST' }, other)).status).toBe(400);
    const policy = `/api/v1/app-connections/okta/${other}/use-policy`;
    await restClient(server.url, organisation.apiKey)('PUT', policy, { preset: 'READ_ONLY' });
    await okta.takeJournal();
    expect((await use('/api/v1/users', { method: 'POST' }, other)).status).toBe(403);
    await nothingWasSent();
  });
});

describe('access to the proxy', () => {
  it('is refused to a caller with all scopes except connections:use', async () => {
    const apiKey = await organisation.newKey(scopes.filter((scope) => scope !== 'connections:use'));
    const response = await use('/api/v1/users', { headers: { authorization: `Bearer ${apiKey}` } });
    expect([response.status, at(await response.json(), 'code')]).toEqual([403, 'FORBIDDEN']);
    await nothingWasSent();
  });

  it('is refused to another organisation, and to a caller that is limited to another project or connection', async () => {
    const { apiKey } = await server.newOrganisation();
    const limited = await organisation.newKey(scopes, {
      projectIds: [await organisation.newProject('Other')],
    });
    const other = await createConnection(organisation, okta.origin);
    const ofOther = await organisation.newKey(scopes, { connectionIds: [other] });
    await okta.takeJournal();
    for (const key of [apiKey, limited, ofOther]) {
      const response = await use('/api/v1/users', { headers: { authorization: `Bearer ${key}` } });
      expect([response.status, at(await response.json(), 'code')]).toEqual([404, 'NOT_FOUND']);
    }
    await nothingWasSent();
  });

  it('is refused without a valid API key', async () => {
    for (const authorization of ['Bearer wrong', 'SSWS wrong', `Basic ${organisation.apiKey}`, '']) {
      const response = await use('/api/v1/users', { headers: { authorization } });
      expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
    }
    await nothingWasSent();
  });

  it('is refused as soon as the connection is deleted', async () => {
    const id = await createConnection(organisation, okta.origin);
    expect((await use('/api/v1/users', {}, id)).status).toBe(200);
    await restClient(server.url, organisation.apiKey)(
      'DELETE',
      `/api/v1/app-connections/okta/${id}?acknowledgeUse=true`,
    );
    await okta.takeJournal();
    expect((await use('/api/v1/users', {}, id)).status).toBe(404);
    await nothingWasSent();
  });

  it('uses new credentials as soon as they are stored', async () => {
    const id = await createConnection(organisation, okta.origin);
    await use('/api/v1/users', {}, id);
    const apiToken = `${token}2`;
    await restClient(server.url, organisation.apiKey)('PATCH', `/api/v1/app-connections/okta/${id}`, {
      credentials: { apiToken },
    });
    await okta.takeJournal();
    await use('/api/v1/users', {}, id);
    const [received] = await okta.takeJournal();
    expect(received && new Map(parseHeaders(received)).get('authorization')).toBe(`SSWS ${apiToken}`);
  });

  it('marks the connection and sends nothing more once a check confirms that Okta rejects the token', async () => {
    const apiToken = '00RevokedLaterRevokedLaterRevokedLaterRevo';
    const id = await createConnection(organisation, okta.origin, { apiToken });
    await okta.revoke(apiToken);
    await okta.takeJournal();
    const responses = await Promise.all(Array.from({ length: 10 }, () => use('/api/v1/users', {}, id)));
    const statuses = responses.map(({ status }) => status);
    expect(statuses).toContain(401);
    // Requests that arrive after the check are refused.
    expect([401, 422]).toEqual(expect.arrayContaining(statuses));
    const rest = restClient(server.url, organisation.apiKey);
    await expect
      .poll(async () => {
        const { body } = await rest('GET', `/api/v1/app-connections/okta/${id}/verification`);
        return JSON.stringify(body);
      })
      .toContain('REJECTED');
    const journal = await okta.takeJournal();
    expect(journal.filter(({ url }) => url === '/api/v1/users/me')).toHaveLength(1);
    const refused = await use('/api/v1/users', {}, id);
    expect([refused.status, at(await refused.json(), 'code')]).toEqual([422, 'CREDENTIALS_REJECTED']);
    await nothingWasSent();
  });

  it('does not mark the connection for a 401 that the check does not confirm', async () => {
    const { id, ask } = await connectTo(
      withToken((request, response) => {
        const isMe = request.url === '/api/v1/users/me';
        const body = isMe ? { id: '00ub0oNGTSWTBKOLGLNR' } : { errorCode: 'E0000011' };
        response
          .writeHead(isMe ? 200 : 401, { 'content-type': 'application/json' })
          .end(JSON.stringify(body));
      }),
    );
    const before = host.requests.length;
    await (await ask('/api/v1/users')).text();
    await expect.poll(() => host.requests.at(-1)?.path).toBe('/api/v1/users/me');
    await (await ask('/api/v1/users')).text();
    const { text } = await restClient(server.url, organisation.apiKey)(
      'GET',
      `/api/v1/app-connections/okta/${id}/verification`,
    );
    expect(text).not.toContain('REJECTED');
    const checks = host.requests.slice(before).filter(({ path }) => path === '/api/v1/users/me');
    expect(checks).toHaveLength(1);
  });
});

describe('the audit trail', () => {
  it('has each write with method, path and status, and reads as a count', async () => {
    const auditor = await server.newOrganisation();
    const id = await createConnection(auditor, okta.origin);
    const authorization = `Bearer ${auditor.apiKey}`;
    for (const [method, path] of [
      ['POST', '/api/v1/users?activate=true&secret=abc'],
      ['DELETE', '/api/v1/users/1'],
      ['GET', '/api/v1/users'],
      ['GET', '/api/v1/groups'],
    ] as const)
      await (await use(path, { method, headers: { authorization } }, id)).text();
    const readEvents = async () => {
      const { body } = await restClient(server.url, auditor.apiKey)(
        'GET',
        '/api/v1/audit-events?action=USE_CONNECTION',
      );
      const events = at(body, 'auditEvents') as Record<string, unknown>[];
      return events.map(({ targetName, outcome, connectionId }) => [targetName, outcome, connectionId]);
    };
    // No response waits for the count.
    await expect.poll(readEvents).toEqual([
      [null, 'OK', id],
      ['DELETE /api/v1/users/1 404', 'OK', id],
      ['POST /api/v1/users?activate&secret 400', 'OK', id],
    ]);
  });
});

describe('secrets in responses', () => {
  it.each<[string, (secret: string) => string]>([
    ['as it is', (secret) => secret],
    ['in base64', (secret) => Buffer.from(`SSWS ${secret}`).toString('base64')],
    ['in hex', (secret) => Buffer.from(secret).toString('hex')],
  ])('are removed from headers and bodies: %s', async (_, encode) => {
    const echo: Behaviour = (request, response) => {
      const secret = encode(request.headers.authorization?.replace(/^SSWS /, '') ?? '');
      response.writeHead(200, { 'content-type': 'application/json', 'x-echo': secret, link: `<${secret}>` });
      // In two chunks.
      response.write(`{"a":"${secret.slice(0, 10)}`);
      setTimeout(() => response.end(`${secret.slice(10)}"}`), 20);
    };
    const { ask } = await connectTo(echo);
    const response = await ask('/api/v1/users');
    const body = await response.text();
    const stars = (text: string) => text.replace(/\*+/, '***');
    expect(body).not.toContain(encode(token).slice(8, -8));
    expect(JSON.parse(body).a).toHaveLength(encode(token).length);
    expect(stars(response.headers.get('x-echo') ?? '')).toContain('***');
    expect(JSON.stringify([...response.headers])).not.toContain(encode(token).slice(8, -8));
    expect(server.logs()).not.toContain(token);
  });

  it.each([{ 'content-encoding': 'gzip' }, { 'transfer-encoding': 'gzip, chunked' }])(
    'a compressed response is refused, because nothing could be removed from it: %j',
    async (headers) => {
      const { ask } = await connectTo((_, response) => {
        response.writeHead(200, headers).end(Buffer.alloc(10));
      });
      const response = await ask('/api/v1/users');
      expect([response.status, at(await response.json(), 'code')]).toEqual([503, 'UPSTREAM_UNREACHABLE']);
    },
  );
});

describe('connections of the proxy', () => {
  it('breaks the response to the client off when the connection to the app breaks', async () => {
    const { ask } = await connectTo((_, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('a');
      setTimeout(() => response.destroy(), 20);
    });
    const response = await ask('/api/v1/users');
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
  });

  it('answers 503 with a remedy that fits reads and writes when the connection to the app breaks before the response', async () => {
    const { ask } = await connectTo((request) => request.socket.destroy());
    const read = await ask('/api/v1/users');
    expect([read.status, await read.json()]).toMatchObject([
      503,
      { code: 'UPSTREAM_UNREACHABLE', remedy: 'Send the request again.' },
    ]);
    const write = await ask('/api/v1/users', { method: 'POST', body: 'x' });
    expect(await write.json()).toMatchObject({
      remedy: expect.stringContaining('Find out whether Okta has done it'),
    });
    expect(server.logs()).not.toContain('unexpected error');
  });

  it('ends the request to the app when the client disconnects during a download', async () => {
    const { id } = await connectTo((_, response) => {
      response.writeHead(200).write('a');
    });
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.write(
      `GET ${route(id)}/api/v1/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${organisation.apiKey}\r\n\r\n`,
    );
    await once(socket, 'data');
    socket.destroy();
    await host.requests.at(-1)?.disconnected;
  });

  it('ends the request to the app when the client disconnects during an upload', async () => {
    const { id } = await connectTo((request) => request.resume());
    const before = host.requests.length;
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.write(
      `POST ${route(id)}/api/v1/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${organisation.apiKey}\r\nContent-Length: 100\r\n\r\nabc`,
    );
    await expect.poll(() => host.requests.length).toBe(before + 1);
    socket.destroy();
    await host.requests.at(-1)?.disconnected;
    await expect.poll(() => server.logs()).toContain('"outcome":"ABORTED"');
  });

  it('serve the next request after an upload that is refused before it is read', async () => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    let received = '';
    socket.on('data', (chunk) => {
      received += String(chunk);
    });
    const head = (method: string, id: string) =>
      `${method} ${route(id)}/api/v1/users HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${organisation.apiKey}\r\n`;
    socket.write(`${head('POST', '00000000-0000-4000-8000-000000000000')}Content-Length: 300000\r\n\r\n`);
    await expect.poll(() => received).toContain('404 Not Found');
    socket.write('x'.repeat(300_000));
    socket.write(`${head('GET', connectionId)}\r\n`);
    await expect.poll(() => received).toContain('200 OK');
  });

  it('answers 413 for an upload that is too large', async () => {
    const { ask } = await connectTo((request, response) => {
      request.resume().on('end', () => response.end());
    });
    const response = await ask('/api/v1/x', { method: 'POST', body: 'x'.repeat(10 * 1024 * 1024 + 1) });
    expect([response.status, at(await response.json(), 'code')]).toEqual([413, 'BAD_USER_INPUT']);
    const largest = await ask('/api/v1/x', { method: 'POST', body: 'x'.repeat(10 * 1024 * 1024) });
    expect(largest.status).toBe(200);
  });
});

describe('requests in GraphQL', () => {
  const fields =
    'status headers { name value } body truncated rateLimit { limit remaining resetAt } nextPath';
  const execute = gql`
    mutation ($input: ExecuteOktaRequestInput!) { executeOktaRequest(input: $input) { ${fields} } }
  `;
  const read = gql`
    query ($connectionId: UUID!, $path: String!, $query: String) {
      oktaResponse(connectionId: $connectionId, path: $path, query: $query) { ${fields} }
    }
  `;
  type Response = Record<'oktaResponse' | 'executeOktaRequest', Record<string, unknown>>;

  it('return status, JSON, the rate limit and the path of the next page, which leads on', async () => {
    const ask = async (query: string) => {
      const variables = { connectionId, path: '/api/v1/users', query };
      return (await organisation.client.request<Response>(read, variables)).oktaResponse;
    };
    const { status, body, truncated, rateLimit, nextPath } = await ask('limit=2');
    expect([status, truncated, nextPath]).toEqual([200, false, '/api/v1/users?limit=2&after=2']);
    expect(at(body, 1, 'id')).toBe('00u00000000000000001');
    expect(rateLimit).toEqual({
      limit: 600,
      remaining: expect.any(Number),
      resetAt: expect.stringMatching(/^20\d\d-/),
    });
    const next = await ask('limit=2&after=2');
    expect(at(next.body, 0, 'id')).toBe('00u00000000000000002');
    expect((await ask('limit=200&after=200')).nextPath).toBe(null);
  });

  it('send method, query, headers and body, and return errors of the app as responses', async () => {
    const input = {
      connectionId,
      method: 'POST',
      path: '/api/v1/groups',
      query: 'a=%20b',
      headers: [
        { name: 'X-Mine', value: '1' },
        { name: 'Authorization', value: 'mine' },
      ],
      body: '{"profile":{"name":"é"}}',
    };
    const { executeOktaRequest } = await organisation.client.request<Response>(execute, { input });
    expect(executeOktaRequest).toMatchObject({
      status: 200,
      body: { type: 'OKTA_GROUP', profile: { name: 'é' } },
    });
    const [received] = await okta.takeJournal();
    if (!received) throw new Error('Nothing arrived.');
    expect(Buffer.from(received.body, 'base64').toString()).toBe(input.body);
    expect([received.method, received.url]).toEqual(['POST', '/api/v1/groups?a=%20b']);
    expect(Object.fromEntries(parseHeaders(received))).toEqual({
      'x-mine': '1',
      'content-type': 'application/json',
      'content-length': '25',
      'user-agent': 'app-connections',
      'accept-encoding': 'identity',
      authorization: `SSWS ${token}`,
    });
    const missing = { connectionId, method: 'GET', path: '/api/v1/nothing' };
    const answer = await organisation.client.request<Response>(execute, { input: missing });
    expect(answer.executeOktaRequest).toMatchObject({ status: 404, body: { errorCode: 'E0000007' } });
  });

  it('return 1 MiB of a longer body as text', async () => {
    const variables = { connectionId, path: '/api/v1/stand-in/bytes/2000000' };
    const { oktaResponse } = await organisation.client.request<Response>(read, variables);
    expect(oktaResponse).toMatchObject({ status: 200, truncated: true });
    expect(String(oktaResponse.body)).toHaveLength(1024 * 1024);
  });

  it('say that a link to the next page cannot be followed, beside the response', async () => {
    const { id } = await connectTo((_, response) => {
      response.writeHead(200, { link: '</api//v1/users>; rel="next"' }).end('ok');
    });
    const variables = { connectionId: id, path: '/api/v1/users' };
    const { text } = await restClient(server.url, organisation.apiKey)('POST', '/graphql', {
      query: `query ($connectionId: UUID!, $path: String!) {
        oktaResponse(connectionId: $connectionId, path: $path) { body nextPath }
      }`,
      variables,
    });
    expect(JSON.parse(text)).toMatchObject({
      data: { oktaResponse: { body: 'ok', nextPath: null } },
      errors: [{ path: ['oktaResponse', 'nextPath'], extensions: { code: 'UPSTREAM_INVALID_RESPONSE' } }],
    });
  });

  it('return JSON with more than 10,000 members in one object as text, and long lists as JSON', async () => {
    const members = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`m${index}`, 1]));
    const list = Array.from({ length: 20 }, () => members(4_000));
    const texts = [members(10_001), members(9_000), list].map((value) => JSON.stringify(value));
    const { id } = await connectTo((request, response) => {
      const text = texts[Number(request.url?.slice(1))];
      response.writeHead(200, { 'content-type': 'application/json' }).end(text);
    });
    const bodies = [];
    for (const path of ['/0', '/1', '/2']) {
      const { oktaResponse } = await organisation.client.request<Response>(read, { connectionId: id, path });
      bodies.push(oktaResponse.body);
    }
    expect(bodies).toEqual([texts[0], members(9_000), list]);
  });

  it('return a response whose JSON and rate limit cannot be returned as such', async () => {
    const json = '['.repeat(5_000) + ']'.repeat(5_000);
    const limit = {
      'x-rate-limit-limit': '99999999999',
      'x-rate-limit-remaining': '1',
      'x-rate-limit-reset': '999999999999',
    };
    const { id } = await connectTo((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json', ...limit }).end(json);
    });
    const variables = { connectionId: id, path: '/api/v1/users' };
    const { oktaResponse } = await organisation.client.request<Response>(read, variables);
    expect(oktaResponse).toMatchObject({ status: 200, body: json, truncated: false, rateLimit: null });
  });

  it('return all digits of an integer beyond 2^53, as text', async () => {
    const json =
      '{"big":12345678901234567890,"list":[-9007199254740993,9007199254740991,1.5e300,"1234567890123456789"]}';
    const { id } = await connectTo((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(json);
    });
    const variables = { connectionId: id, path: '/api/v1/users' };
    const { oktaResponse } = await organisation.client.request<Response>(read, variables);
    expect(oktaResponse.body).toEqual({
      big: '12345678901234567890',
      list: ['-9007199254740993', 9007199254740991, 1.5e300, '1234567890123456789'],
    });
  });

  it('mask a token that JSON escapes in part', async () => {
    const escaped = token.replace('-', '\\u002d');
    const { id } = await connectTo((request, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(request.url === '/api/v1/users/me' ? '{}' : `{"${escaped}":["x ${escaped}"]}`);
    });
    const variables = { connectionId: id, path: '/api/v1/users' };
    const { oktaResponse } = await organisation.client.request<Response>(read, variables);
    const masked = '*'.repeat(token.length);
    expect(oktaResponse.body).toEqual({ [masked]: [`x ${masked}`] });
  });

  it('replace a Content-Length of the caller, also one with an underscore', async () => {
    const input = {
      connectionId,
      method: 'POST',
      path: '/api/v1/groups',
      headers: [
        { name: 'Content-Length', value: '1' },
        { name: 'Content_Length', value: '1' },
      ],
      body: '{}',
    };
    const { executeOktaRequest } = await organisation.client.request<Response>(execute, { input });
    expect(executeOktaRequest).toMatchObject({ status: 400 });
    const received = await okta.takeJournal();
    expect(received.map(({ body }) => body)).toEqual([Buffer.from('{}').toString('base64')]);
    const lengths = received.flatMap(parseHeaders).filter(([name]) => /^content.length$/.test(name));
    expect(lengths).toEqual([['content-length', '2']]);
  });

  it('name every field that is wrong', async () => {
    const input = {
      connectionId,
      method: 'GET',
      path: 'x?y',
      query: 'a b',
      headers: [{ name: 'a b', value: 'a\nb' }],
    };
    const [error] = await errorsOf(organisation.client.request(execute, { input }));
    const paths = error?.extensions.issues?.map(({ path }) => path.join('.'));
    expect(paths?.sort()).toEqual([
      'input.headers.0.name',
      'input.headers.0.value',
      'input.path',
      'input.query',
    ]);
    expect(await okta.takeJournal()).toEqual([]);
  });
});
