import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createOutbound } from '../src/outbound/create-outbound.ts';
import type { OutboundSettings } from '../src/outbound/outbound.ts';
import { type Certificates, makeCertificates, trust } from './testkit/certificates.ts';
import { countConnectionAttempts } from './testkit/connection-attempts.ts';
import { startOkta } from './testkit/okta.ts';
import { closedPort } from './testkit/process.ts';
import { answeringWith, startProxy, tunnelTo } from './testkit/proxy.ts';
import {
  closeConnection,
  endlessly,
  type ResponseChunks,
  startRawHttpServer,
} from './testkit/raw-http-server.ts';
import { createConnectionOverRest, type RestClient, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { createUrlEntryPoints, parseFailure } from './testkit/url-entry-points.ts';

let certificates: Certificates;
let trusting: Disposable;
beforeAll(async () => {
  certificates = await makeCertificates();
  trusting = trust(certificates.ca);
});
afterAll(() => trusting[Symbol.dispose]());

const kilobyte = (text: string) => text.repeat(1_024 / text.length);
const user = JSON.stringify({ id: '00ub0oNGTSWTBKOLGLNR', profile: { login: 'ada@example.com' } });
const head = (...headers: string[]) => ['HTTP/1.1 200 OK', ...headers, '', ''].join('\r\n');
const chunked = head('transfer-encoding: chunked');
const withBody = (body: string | Buffer, ...headers: string[]): ResponseChunks => {
  const bytes = Buffer.from(body);
  return () => [Buffer.concat([Buffer.from(head(`content-length: ${bytes.length}`, ...headers)), bytes])];
};

/** Describes its organisation as Okta does, and answers all other requests with this body. */
const oktaWithBody =
  (body: string): ResponseChunks =>
  (request) => {
    const isWellKnown = request.toString().startsWith('GET /.well-known/');
    const answer = isWellKnown ? '{"id":"00o5rb5mt2H3d1TJd0h7"}' : body;
    return [...withBody(answer, 'connection: close')(request), closeConnection];
  };

async function startHost(pieces: ResponseChunks, isOverTls = false) {
  const host = await startRawHttpServer(pieces, isOverTls ? certificates.good : undefined);
  onTestFinished(host.close);
  return host;
}

function client(settings: Partial<OutboundSettings>) {
  const outbound = createOutbound({ trustedHosts: new Set(), timeoutMs: 60_000, ...settings });
  onTestFinished(() => outbound.close());
  return outbound;
}

/** Builds a certificate chain of this length. */
const withOthers = (cert: string, count: number) =>
  [cert, ...Array.from({ length: count }, () => certificates.ca.cert)].join('\n');

/** Responses that exceed a limit, and the resulting error. */
const costly: [string, ResponseChunks, string][] = [
  [
    'a small body in chunks of one byte',
    () => [chunked, '1\r\nx\r\n'.repeat(2_000), '0\r\n\r\n'],
    'the response has more than 1000 chunks',
  ],
  [
    'a body without end, in chunks of one byte',
    () => endlessly(chunked, '1\r\nx\r\n'.repeat(500)),
    'the response has more than 1000 chunks',
  ],
  [
    'a body that says that it is too large',
    withBody('x'.repeat(65_537)),
    'the response is larger than 65536 bytes',
  ],
  [
    'chunk extensions without end',
    () => endlessly(`${chunked}1;`, kilobyte('x')),
    'the response exceeds 163840 bytes on the wire',
  ],
  [
    'white space before a header’s value without end',
    () => endlessly('HTTP/1.1 200 OK\r\nx:', kilobyte(' ')),
    'the response exceeds 163840 bytes on the wire',
  ],
  [
    'a status text without end',
    () => endlessly('HTTP/1.1 200 ', kilobyte('x')),
    'the response exceeds 163840 bytes on the wire',
  ],
  [
    'empty lines before the answer without end',
    () => endlessly('\r\n', kilobyte('\r\n')),
    'the response has more than 3000 lines',
  ],
  [
    'interim responses without end',
    () => endlessly('', 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(100)),
    'the host sent more than 8 interim responses',
  ],
  [
    'interim responses with large headers',
    () => endlessly('', `HTTP/1.1 102 Processing\r\nx: ${'y'.repeat(2_000)}\r\n\r\n`),
    'the host sent more than 8 interim responses',
  ],
  [
    'very many small headers',
    () => [head(...Array.from({ length: 300 }, (_, index) => `x${index}: y`), 'content-length: 0')],
    'the response has more than 200 headers',
  ],
  [
    'one header very many times',
    () => [head(...Array.from({ length: 300 }, () => 'set-cookie: a=b'), 'content-length: 0')],
    'the response has more than 200 headers',
  ],
  [
    'headers without end',
    () => endlessly('HTTP/1.1 200 OK\r\n', 'x: y\r\n'.repeat(1_000)),
    'the response has more than 3000 lines',
  ],
  [
    'trailers without end',
    () => endlessly(`${chunked}0\r\n`, 'x: y\r\n'.repeat(1_000)),
    'the response has more than 3000 lines',
  ],
  [
    'a header without end',
    () => endlessly('HTTP/1.1 200 OK\r\nx: ', kilobyte('y')),
    'the response headers are too large',
  ],
  [
    'a trailer without end',
    () => endlessly(`${chunked}0\r\nx: `, kilobyte('y')),
    'the response headers are too large',
  ],
];

describe('response beyond the limits closes the connection:', () => {
  test.each(costly)('%s', async (_, pieces, message) => {
    const host = await startHost(pieces);
    const outbound = client({ trustedHosts: new Set([host.hostPort]) });
    const exchange = outbound.get(new URL(host.origin), { headers: {} });
    await expect(exchange).rejects.toMatchObject({ reason: 'TOO_LARGE', message });
    await host.disconnected;
  });

  test.each(costly)('over TLS, %s', async (_, pieces, message) => {
    const host = await startHost(pieces, true);
    const outbound = client({ trustedHosts: new Set([host.hostPort]) });
    const exchange = outbound.get(new URL(host.origin), { headers: {} });
    await expect(exchange).rejects.toMatchObject({ reason: 'TOO_LARGE', message });
    await host.disconnected;
  });

  test.each(costly)('through a proxy, %s', async (_, pieces, message) => {
    const host = await startHost(pieces);
    const proxy = await startProxy(tunnelTo(host.port));
    onTestFinished(() => proxy[Symbol.asyncDispose]());
    const outbound = client({
      proxy,
      lookup: async () => [{ address: '10.0.0.1', family: 4 }],
      trustedHosts: new Set(['okta.internal:80']),
    });
    const exchange = outbound.get(new URL('http://okta.internal'), { headers: {} });
    await expect(exchange).rejects.toMatchObject({ reason: 'TOO_LARGE', message });
    await host.disconnected;
  });

  test('an endless sequence of TLS handshake messages', async () => {
    // RFC 5246, section 7.4.1.1: a client skips each HelloRequest until it has finished its handshake.
    const helloRequest = Buffer.from([22, 3, 3, 0, 4, 0, 0, 0, 0]);
    const records = Buffer.concat(Array.from({ length: 1_000 }, () => helloRequest));
    const host = await startHost(() => endlessly(records, records));
    const outbound = client({ trustedHosts: new Set([host.hostPort]) });
    await expect(outbound.get(new URL(`https://${host.hostPort}`), { headers: {} })).rejects.toMatchObject({
      reason: 'TOO_LARGE',
      message: 'the TLS handshake exceeds 12288 bytes',
    });
    await host.disconnected;
  });

  test.each([
    ['that are not needed', 40, 'good'],
    ['for another host', 40, 'wrongHost'],
    ['whose first one is self-signed', 400, 'selfSigned'],
  ] as const)('a TLS handshake with %s, %i certificates, before any is verified', async (_, count, kind) => {
    const { cert, key } = certificates[kind];
    const host = await startRawHttpServer(() => [], { cert: withOthers(cert, count), key });
    onTestFinished(host.close);
    const outbound = client({ trustedHosts: new Set([host.hostPort]) });
    await expect(outbound.get(new URL(host.origin), { headers: {} })).rejects.toMatchObject({
      reason: 'TOO_LARGE',
      message: 'the TLS handshake exceeds 12288 bytes',
    });
  });

  test('interim responses of a proxy, the first of which is its response', async () => {
    const proxy = await startProxy(answeringWith('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(1_000)));
    onTestFinished(() => proxy[Symbol.asyncDispose]());
    const outbound = client({ proxy, lookup: async () => [{ address: '3000::1', family: 6 }] });
    await expect(outbound.get(new URL('https://acme.okta.test'), { headers: {} })).rejects.toMatchObject({
      reason: 'PROXY',
      message: 'the outbound proxy did not connect (status 103)',
    });
  });
});

describe('response limits', () => {
  test('apply to each response anew on a reused connection', async () => {
    const okta = await startOkta({ handler: (_, response) => void response.end('x'.repeat(60_000)) });
    onTestFinished(okta.close);
    const outbound = client({ trustedHosts: new Set([okta.hostPort]) });
    for (const _ of [1, 2, 3, 4, 5, 6]) {
      const { body } = await outbound.get(new URL(okta.origin), { headers: {} });
      expect(body).toHaveLength(60_000);
    }
    expect(okta.connections()).toBeLessThan(3);
  });

  test('can be lowered for a request', async () => {
    const host = await startHost(withBody('x'.repeat(1_001)));
    const outbound = client({ trustedHosts: new Set([host.hostPort]) });
    const exchange = outbound.get(new URL(host.origin), { headers: {}, maxBytes: 1_000 });
    await expect(exchange).rejects.toMatchObject({ message: 'the response is larger than 1000 bytes' });
  });

  test('accept JSON of 5,000 lines', async () => {
    const body = `[${'\n1,'.repeat(5_000)}1]`;
    const host = await startHost(withBody(body));
    const outbound = client({ trustedHosts: new Set([host.hostPort]) });
    await expect(outbound.get(new URL(host.origin), { headers: {} })).resolves.toMatchObject({ body });
  });

  test('accept 64 kB in large chunks, with interim responses and trailers', async () => {
    const piece = `1000\r\n${'é'.repeat(0x1000 / 2)}\r\n`;
    const host = await startHost(() => [
      'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n',
      chunked,
      ...Array.from({ length: 16 }, () => piece),
      '0\r\nx-trailer: y\r\n\r\n',
    ]);
    const outbound = client({ trustedHosts: new Set([host.hostPort]) });
    const answer = await outbound.get(new URL(host.origin), { headers: {} });
    expect(answer).toMatchObject({ status: 200, body: 'é'.repeat(32_768) });
  });
});

test('reject a TLS handshake with more than ten unneeded certificates', async () => {
  const { cert, key } = certificates.good;
  const host = await startRawHttpServer(withBody(user), { cert: withOthers(cert, 10), key });
  onTestFinished(host.close);
  const outbound = client({ trustedHosts: new Set([host.hostPort]) });
  await expect(outbound.get(new URL(host.origin), { headers: {} })).resolves.toMatchObject({ body: user });
});

describe('unrequested compressed response', () => {
  const get = async (pieces: ResponseChunks) => {
    const host = await startHost(pieces);
    return client({ trustedHosts: new Set([host.hostPort]) }).get(new URL(host.origin), { headers: {} });
  };

  test.each([
    ['gzip', gzipSync(user)],
    ['GZIP', gzipSync(user)],
    ['x-gzip', gzipSync(user)],
    ['deflate', deflateSync(user)],
    ['deflate', deflateRawSync(user)],
    ['br', brotliCompressSync(user)],
    ['identity', Buffer.from(user)],
    ['gzip', Buffer.alloc(0)],
  ])('is decompressed: %s', async (encoding, body) => {
    const answer = await get(withBody(body, `content-encoding: ${encoding}`));
    expect(answer.body).toBe(body.length === 0 ? '' : user);
  });

  test.each([
    ['gzip', gzipSync(Buffer.alloc(10_000_000))],
    ['deflate', deflateSync(Buffer.alloc(10_000_000))],
    ['deflate', deflateRawSync(Buffer.alloc(10_000_000))],
    ['br', brotliCompressSync(Buffer.alloc(10_000_000))],
    ['gzip', Buffer.concat(Array.from({ length: 200 }, () => gzipSync(Buffer.alloc(1_000))))],
  ])('is limited to 64 kB after decompression: %s', async (encoding, body) => {
    expect(body.length).toBeLessThan(65_536);
    await expect(get(withBody(body, `content-encoding: ${encoding}`))).rejects.toMatchObject({
      reason: 'TOO_LARGE',
      message: 'the response is larger than 65536 bytes',
    });
  });

  test.each([
    ['gzip', Buffer.from(user), 'the response body does not match its Content-Encoding'],
    ['gzip', gzipSync(user).subarray(0, -9), 'the response body does not match its Content-Encoding'],
    ['br', gzipSync(user), 'the response body does not match its Content-Encoding'],
    ['zstd', zstdCompressSync(user), 'the response has an unknown Content-Encoding'],
    ['constructor', Buffer.from(user), 'the response has an unknown Content-Encoding'],
    ['__proto__', Buffer.from(user), 'the response has an unknown Content-Encoding'],
    ['gzip, gzip', gzipSync(gzipSync(user)), 'the response has an unknown Content-Encoding'],
  ])('that is invalid fails: %s', async (encoding, body, message) => {
    await expect(get(withBody(body, `content-encoding: ${encoding}`))).rejects.toMatchObject({
      reason: 'PROTOCOL',
      message,
    });
  });
});

test('tries at most four addresses of each IP family', async () => {
  const port = await closedPort();
  using attempts = countConnectionAttempts();
  const outbound = client({
    trustedHosts: new Set([`many.test:${port}`]),
    lookup: async () =>
      Array.from({ length: 2_000 }, (_, index) => ({
        address: `127.0.${index >> 8}.${index & 255}`,
        family: 4,
      })),
  });
  const exchange = outbound.get(new URL(`http://many.test:${port}`), { headers: {} });
  await expect(exchange).rejects.toHaveProperty('reason', 'REFUSED');
  expect(attempts.count).toBe(4);
});

describe('response limits through the API', () => {
  const trusted = new Set<string>();
  let server: TestServer;
  let rest: RestClient;
  let ways: ReturnType<typeof createUrlEntryPoints>;
  beforeAll(async () => {
    server = await startTestServer({ config: { trustedInstanceHosts: trusted } });
    rest = restClient(server.url, (await server.newOrganisation()).apiKey);
    ways = createUrlEntryPoints(
      rest,
      (await createConnectionOverRest(rest, { name: 'stored' })).id,
      '00planted-planted-planted',
    );
  });
  afterAll(() => server.close());

  async function answersTo(pieces: ResponseChunks, times = 1) {
    const host = await startHost(pieces);
    trusted.add(host.hostPort);
    const calls = Array.from({ length: times }, () => ways.validateOktaCredentials(host.origin));
    return (await Promise.all(calls)).map(parseFailure);
  }

  const notOkta = (clause: string) => ({
    code: 'NOT_AN_OKTA_ORG',
    message: `The instance URL does not lead to the API of an Okta organisation: ${clause}.`,
  });

  test('reject 1 MiB in one-byte chunks for 30 concurrent calls', async () => {
    const chunks = '1\r\nx\r\n'.repeat(1_024);
    const answers = await answersTo(() => [chunked, ...Array.from({ length: 1_024 }, () => chunks)], 30);
    expect(answers).toMatchObject(answers.map(() => notOkta('the response has more than 1000 chunks')));
  });

  test.each([
    ['only opening brackets', '['.repeat(65_536)],
    ['a good answer with 40 levels of arrays', user.replace('{', `{"x":${'['.repeat(40)}${']'.repeat(40)},`)],
    [
      'a good answer with 40 levels of objects',
      user.replace('{', `{"x":${'{"y":'.repeat(40)}1${'}'.repeat(40)},`),
    ],
    ['a good answer with 25,000 numbers', user.replace('{', `{"x":[${'0,'.repeat(25_000)}0],`)],
    ['a good answer with 7,000 members', user.replace('{', `{${'"":0,'.repeat(12_000)}`)],
  ])('reject %s before parsing', async (_, body) => {
    expect(body.length).toBeLessThanOrEqual(65_536);
    const [failure] = await answersTo(oktaWithBody(body));
    expect(failure).toMatchObject(notOkta('the response is not JSON'));
  });

  test('accept a valid response with many brackets, commas and escapes in strings', async () => {
    const body = user.replace('{', `{"x":${JSON.stringify('[{"\\,:'.repeat(5_000))},`);
    const host = await startHost(oktaWithBody(body));
    trusted.add(host.hostPort);
    const { text } = await ways.validateOktaCredentials(host.origin);
    expect(text).toBe('{"data":{"answer":{"code":null,"message":null,"remedy":null}}}');
  });
});
