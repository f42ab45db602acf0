import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { sendRaw } from './testkit/raw-http.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { times } from './testkit/stress.ts';

const signInKey = new Secret('the-key-of-one-time-codes-is-in-no-page');
const query = '{"query":"{ __typename }"}';
const okta = '/api/v1/app-connections/okta';

/** Builds a raw request with `Connection: close`; the Host is localhost unless `host` is given. */
function request(
  line: string,
  { headers = [], body = '', host = ['Host: localhost'] } = {} as Lines,
): string {
  return [`${line} HTTP/1.1`, ...host, 'Connection: close', ...headers, '', body].join('\r\n');
}

interface Lines {
  headers?: string[];
  body?: string;
  host?: string[];
}

describe.each([
  ['HTTP requests in development', {}],
  ['HTTP requests in production', { production: true, fakeOkta: false }],
])('%s', (_, config) => {
  let server: TestServer;
  let authorization: string;
  beforeAll(async () => {
    server = await startTestServer({ config, signInKey });
    authorization = `Authorization: Bearer ${(await server.newOrganisation()).apiKey}`;
  });
  afterAll(async () => {
    // No test causes an internal error, and the server continues to serve.
    expect(server.logs()).not.toContain('"level":"error"');
    expect((await fetch(`${server.url}/health/ready`)).status).toBe(200);
    await server.close();
  });

  const post = (
    path: string,
    body: string,
    headers: string[] = [`Content-Length: ${Buffer.byteLength(body)}`],
  ) =>
    request(`POST ${path}`, { headers: [authorization, 'Content-Type: application/json', ...headers], body });

  describe.each(['/graphql', okta])('ambiguous requests (request smuggling) to %s', (path) => {
    it.each<[string, () => string]>([
      ['two lengths', () => post(path, query, ['Content-Length: 3', `Content-Length: ${query.length}`])],
      ['a list of lengths', () => post(path, query, [`Content-Length: ${query.length}, ${query.length}`])],
      ['a signed length', () => post(path, query, [`Content-Length: +${query.length}`])],
      [
        'a length and chunks',
        () => post(path, '0\r\n\r\n', ['Content-Length: 5', 'Transfer-Encoding: chunked']),
      ],
      [
        'chunks and a length',
        () => post(path, '0\r\n\r\n', ['Transfer-Encoding: chunked', 'Content-Length: 5']),
      ],
      [
        'chunks that are not the last encoding',
        () => post(path, '', ['Transfer-Encoding: chunked, identity']),
      ],
      ['another transfer encoding', () => post(path, '', ['Transfer-Encoding: xchunked'])],
      ...['gzip, chunked', 'identity, chunked', 'chunked, chunked'].map((codings): [string, () => string] => [
        `the transfer codings ${codings}`,
        () =>
          post(path, `${query.length.toString(16)}\r\n${query}\r\n0\r\n\r\n`, [
            `Transfer-Encoding: ${codings}`,
          ]),
      ]),
      ['a chunk without a size', () => post(path, 'zz\r\n', ['Transfer-Encoding: chunked'])],
      [
        'a chunk longer than its size',
        () => post(path, `1\r\n${query}\r\n0\r\n\r\n`, ['Transfer-Encoding: chunked']),
      ],
      ['a folded header', () => post(path, query, ['X-Folded: a', ' b', `Content-Length: ${query.length}`])],
      ['a space before a colon', () => post(path, query, [`Content-Length : ${query.length}`])],
      ['a bare line feed', () => post(path, query).replaceAll('\r\n', '\n')],
      ['a bare carriage return', () => post(path, query, ['X: a\rContent-Length: 5', 'Content-Length: 0'])],
      ['a null byte', () => post(path, query, ['X: a\0b', `Content-Length: ${query.length}`])],
      ['two hosts', () => request(`POST ${path}`, { host: ['Host: localhost', 'Host: localhost'] })],
      ...[
        'Authorization: Bearer another',
        'authorization: Basic YTpi',
        'Authorization:',
        'Content-Type: application/json',
        'Content-Type: text/plain',
        'Content-Encoding: identity\r\nContent-Encoding: gzip',
        'Idempotency-Key: one\r\nIdempotency-Key: one',
        'Origin: https://a.example\r\nOrigin: https://b.example',
        'Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site',
      ].map((lines): [string, () => string] => [
        `a duplicate of a header that may occur once: ${lines.replace('\r\n', ', ')}`,
        () => post(path, query, [lines, `Content-Length: ${query.length}`]),
      ]),
      ['no host', () => request(`POST ${path}`, { host: [] })],
      ['an empty host', () => request(`POST ${path}`, { host: ['Host:'] })],
      ...[
        'a b',
        '[',
        '^',
        'localhost:99999',
        'localhost/graphql',
        'me@localhost',
        'localhost, localhost',
      ].map((host): [string, () => string] => [
        `the host ${host}`,
        () => request(`POST ${path}`, { host: [`Host: ${host}`] }),
      ]),
    ])('are rejected: %s', async (_, bytes) => {
      const { status, text } = await sendRaw(server.url, bytes());
      expect(status).toBe(400);
      expectNoStackTrace(text);
      // There is one response: the server did not read a second request from the first.
      expect(text.match(/^HTTP\/1\.1 /gm)).toHaveLength(1);
    });
  });

  it('rejects a duplicate header by name, on every path', async () => {
    for (const line of [
      'GET /graphql?query={__typename}',
      'GET /api/v1/app-connections',
      'GET /health/live',
    ]) {
      const headers = [authorization, 'Authorization: Bearer another'];
      const { status, text } = await sendRaw(server.url, request(line, { headers }));
      expect([line, status]).toEqual([line, 400]);
      expect(text).toContain('The Authorization header occurs more than once. Send it once.');
    }
  });

  it('accepts headers that may be repeated', async () => {
    const headers = [authorization, 'Accept: application/json', 'Accept: */*', 'X-Forwarded-For: 1.2.3.4'];
    const line = 'GET /api/v1/app-connections';
    const sent = request(line, { headers: [...headers, 'X-Forwarded-For: 5.6.7.8'] });
    expect((await sendRaw(server.url, sent)).status).toBe(200);
  });

  it.each([
    'GET /graphql?query={__typename}&query={viewer{subject}}',
    'GET /graphql?query={__typename}&operationName=a&operationName=b',
    'GET /graphql?query={__typename}&variables={}&variables={}',
  ])('rejects a duplicate parameter: %s', async (line) => {
    const { status, text } = await sendRaw(server.url, request(line, { headers: [authorization] }));
    expect(status).toBe(400);
    expect(text).toContain('more than once');
  });

  it.each(['limit=1&limit=2', 'projectId=null&projectId=null', 'cursor=a&limit=5&cursor=b'])(
    'rejects a duplicate parameter in REST, and names it: %s',
    async (parameters) => {
      const line = `GET /api/v1/app-connections?${parameters}`;
      const { status, text } = await sendRaw(server.url, request(line, { headers: [authorization] }));
      expect(status).toBe(422);
      const name = parameters.slice(0, parameters.indexOf('='));
      expect(text).toContain(`{"path":["${name}"],"message":"Send this parameter once."}`);
    },
  );

  it('rejects a URL and a header over the size limit', async () => {
    for (const bytes of [
      request(`GET /${'a'.repeat(20_000)}`),
      request('GET /health/live', { headers: [`X: ${'a'.repeat(20_000)}`] }),
      request('GET /health/live', { headers: Array.from({ length: 5_000 }, (_, i) => `X-${i}: a`) }),
    ]) {
      expect((await sendRaw(server.url, bytes)).status).toBe(431);
    }
  });

  it.each([
    '//graphql',
    '/graphql/',
    '/./graphql',
    '/%2e/graphql',
    '/%67raphql',
    '/graphql%00',
    '/GRAPHQL',
    '/graphql;a=b',
    '/health/../graphql',
    '/health/live/',
    '/api/../graphql',
    '/api/v1/../v1/openapi.json',
    '/api/v1/openapi.json/',
    'http://localhost/graphql',
    'http://evil.example/graphql',
    '*',
  ])('answers 404 for %s', async (target) => {
    for (const method of ['GET', 'OPTIONS']) {
      const bytes = request(`${method} ${target}`, { headers: [authorization, 'Accept: text/html'] });
      const { status, text } = await sendRaw(server.url, bytes);
      expect(status).toBe(404);
      expect(text).not.toContain('GraphiQL');
    }
  });

  it.each(['TRACE', 'PUT', 'PATCH', 'OPTIONS', 'PROPFIND'])('rejects the method %s', async (method) => {
    for (const path of ['/graphql', '/api/v1/openapi.json', '/health/live', '/health/ready']) {
      const { status, headers, text } = await sendRaw(
        server.url,
        request(`${method} ${path}`, { headers: [authorization, 'X-Planted: planted'] }),
      );
      expect([path, status]).toEqual([path, 405]);
      expect(headers.get('allow')).toMatch(/^GET, /);
      expect(text).not.toContain('planted');
    }
  });

  it('rejects CONNECT', async () => {
    const { text } = await sendRaw(
      server.url,
      'CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n',
    );
    expect(text).not.toMatch(/^HTTP\/1\.1 2/);
  });

  it.each([
    ['/graphql', '*/*'],
    ['/graphql', 'application/json;q=1'],
    ['/graphql', 'text/event-stream'],
    ['/api/v1/projects', '*/*'],
  ])(
    'rejects an oversized body for %s with Accept: %s and no credential with status 401',
    async (path, accept) => {
      for (const body of [Buffer.alloc(200_000, ' '), Readable.from([Buffer.alloc(200_000, ' ')])]) {
        const response = await fetch(`${server.url}${path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', accept },
          ...{ body, duplex: 'half' },
        } as RequestInit);
        expect(await response.text()).toContain('"code":"UNAUTHENTICATED"');
        expect(response.status).toBe(401);
      }
    },
  );

  it.each(['', 'Authorization: Bearer nobody'])(
    'says that subscriptions are sent as server-sent events to a WebSocket client with the header "%s"',
    async (credential) => {
      const lines = ['Connection: upgrade', 'Upgrade: WebSocket', credential].filter(Boolean);
      const refused = await sendRaw(server.url, request('GET /graphql', { headers: lines }));
      expect(refused.status).toBe(400);
      expect(refused.text).toMatch(/^content-type: application\/json/im);
      expect(refused.text).toContain('not over WebSocket');
    },
  );

  it('rejects WebSockets and ignores an upgrade to HTTP/2', async () => {
    const socket = [
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    ];
    const refused = await sendRaw(
      server.url,
      request('GET /graphql', { headers: [authorization, 'Connection: Upgrade', ...socket] }),
    );
    expect(refused.status).toBe(400);
    expect(refused.text).toMatch(/"code":"BAD_USER_INPUT".*Accept: text\/event-stream/);
    // Java's HttpClient sends this with its first request to a host.
    const response = post('/graphql', query, [
      'Connection: Upgrade, HTTP2-Settings',
      'Upgrade: h2c',
      'HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA',
      `Content-Length: ${query.length}`,
    ]);
    expect((await sendRaw(server.url, response)).text).toMatch(/^HTTP\/1\.1 200 .*"Query"/s);
    expect((await sendRaw(server.url, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')).status).toBe(400);
  });

  describe('a body that is no JSON object in UTF-8', () => {
    it.each<[string, Buffer]>([
      ['half of an object', Buffer.from('{"query":')],
      ['bytes that are no UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0xc3, 0x28, 0x22])],
      [
        'invalid UTF-8 in a string',
        Buffer.from([...Buffer.from('{"query":"'), 0xff, ...Buffer.from('{ a }"}')]),
      ],
      ['UTF-16', Buffer.from(query, 'utf16le')],
      ['an empty body', Buffer.alloc(0)],
      ['null', Buffer.from('null')],
      ['a number', Buffer.from('1234')],
      ['a list', Buffer.from(`[${query}]`)],
      ['brackets', Buffer.from('['.repeat(90_000))],
    ])('is rejected: %s', async (_, body) => {
      for (const path of ['/graphql', okta]) {
        const head = post(path, '', [`Content-Length: ${body.length}`]);
        const { status, text } = await sendRaw(server.url, Buffer.concat([Buffer.from(head), body]));
        expect([path, status]).toEqual([path, 400]);
        expect(text).toContain('BAD_USER_INPUT');
        expectNoStackTrace(text);
      }
    });
  });

  it.each([
    ['Content-Type: text/plain', 'another site can send it without a preflight'],
    ['Content-Type: application/x-www-form-urlencoded', 'another site can send it from a form'],
    ['Content-Type: multipart/form-data; boundary=x', 'another site can send it with files'],
    ['Content-Type: application/graphql', 'a bare document'],
    ['Content-Type: application/json; charset=utf-16', 'another charset'],
    ['Content-Type: application/json\r\nContent-Encoding: gzip', 'compressed'],
    ['X-Content-Type: none', 'no content type'],
  ])('rejects %s: %s', async (type) => {
    for (const path of ['/graphql', okta]) {
      const headers = [authorization, type, `Content-Length: ${query.length}`];
      const { status } = await sendRaw(server.url, request(`POST ${path}`, { headers, body: query }));
      expect([path, status]).toEqual([path, 415]);
    }
  });

  it('rejects parameters that are no JSON', async () => {
    for (const parameter of ['variables=%5B', 'extensions=nonsense', 'variables=%FF', 'variables=1']) {
      const target = `/graphql?query=%7B__typename%7D&${parameter}`;
      const { status, text } = await sendRaw(
        server.url,
        request(`GET ${target}`, { headers: [authorization] }),
      );
      expect(status).toBe(400);
      expect(text).toContain('BAD_USER_INPUT');
      expectNoStackTrace(text);
    }
  });

  it('reports no internal error when a client disconnects in the middle of a body', async () => {
    for (const path of ['/graphql', okta]) {
      const before = server.logs().length;
      const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
      socket.write(post(path, '{"query":', ['Content-Length: 1000']));
      await once(socket, 'connect');
      await expect.poll(() => socket.bytesWritten).toBeGreaterThan(100);
      socket.end();
      await expect.poll(() => server.logs().slice(before)).toMatch(/"msg":"request"/);
      await sendRaw(server.url, request('GET /health/live'));
      expect(server.logs().slice(before)).not.toContain('unexpected error');
    }
  });

  it('does not attribute a response in flight to a following malformed request', async () => {
    const pipelined = request('GET /api/v1/app-connections', { headers: [authorization] });
    const { text } = await sendRaw(
      server.url,
      `${pipelined.replace('Connection: close\r\n', '')}nonsense\r\n\r\n`,
    );
    // The connection ends with at most one response.
    expect(text).not.toMatch(/^HTTP\/1\.1 400/);
  });

  it('answers random bytes with a client error or nothing, and continues to serve', async () => {
    const anything = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    const word = fc.string({ unit: 'binary-ascii', maxLength: 30 });
    const almostHttp = fc
      .tuple(fc.constantFrom('GET', 'POST', 'OPTIONS', 'QUERY'), word, fc.array(fc.tuple(word, word)), word)
      .map(([method, path, headers, body]) =>
        Buffer.from(
          request(`${method} /nowhere${path}`, {
            headers: headers.map(([name, value]) => `${name}: ${value}`),
            body,
          }),
        ),
      );
    await fc.assert(
      fc.asyncProperty(fc.oneof(anything, almostHttp), async (bytes) => {
        const { status, text } = await sendRaw(server.url, bytes, { isAll: true });
        expect(status ?? 400).toBeGreaterThanOrEqual(400);
        expect(status ?? 400).toBeLessThan(500);
        expectNoStackTrace(text);
      }),
      { numRuns: 150 * times },
    );
  });
});

function expectNoStackTrace(text: string): void {
  expect(text).not.toMatch(/\bat (\S+ \()?(file|node|async)|node_modules|\.ts:\d/);
}

describe('health checks', () => {
  it('accept HTTP/1.0 without a Host header in production, as load balancers send it', async () => {
    const server = await startTestServer({ config: { production: true, fakeOkta: false } });
    expect((await sendRaw(server.url, 'GET /health/ready HTTP/1.0\r\n\r\n')).text).toMatch(
      /200 OK.*ready\n$/s,
    );
    await server.close();
  });
});
