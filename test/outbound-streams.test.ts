import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { bufferedLimits, streamedLimits } from '../src/outbound/bulkhead.ts';
import { createOutbound, defaultStreamLimits } from '../src/outbound/create-outbound.ts';
import type { OutboundForward } from '../src/outbound/outbound.ts';
import { StreamedBody } from '../src/outbound/streamed-body.ts';
import type { StreamLimits } from '../src/outbound/streamed-response.ts';
import { type Certificates, makeCertificates, trust } from './testkit/certificates.ts';
import { closeServer } from './testkit/close-server.ts';
import { slowHeaders, startOkta } from './testkit/okta.ts';
import {
  closeConnection,
  endlessly,
  type ResponseChunks,
  startRawHttpServer,
} from './testkit/raw-http-server.ts';

let certificates: Certificates;
let trusting: Disposable;
beforeAll(async () => {
  certificates = await makeCertificates();
  trusting = trust(certificates.ca);
});
afterAll(() => trusting[Symbol.dispose]());

const mebibyte = 1024 * 1024;
const head = (...headers: string[]) => ['HTTP/1.1 200 OK', ...headers, '', ''].join('\r\n');
const chunked = head('transfer-encoding: chunked');

/** Starts a host, and returns a function that forwards requests to it. */
async function startHost(listener: RequestListener, limits: Partial<StreamLimits> = {}) {
  const server = createServer(listener).listen(0, '127.0.0.1');
  onTestFinished(() => closeServer(server));
  await once(server, 'listening');
  return forwarder(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, limits);
}

async function startRawHost(chunks: ResponseChunks, limits: Partial<StreamLimits> = {}) {
  const host = await startRawHttpServer(chunks);
  onTestFinished(host.close);
  return { ...forwarder(host.origin, limits), disconnected: host.disconnected };
}

function forwarder(origin: string, limits: Partial<StreamLimits>) {
  const url = new URL(origin);
  const outbound = createOutbound({
    trustedHosts: new Set([url.host]),
    streamLimits: { ...defaultStreamLimits, ...limits },
  });
  onTestFinished(() => outbound.close());
  const forward = (request: Partial<OutboundForward> = {}) =>
    outbound.forward(url, { method: 'GET', path: '/', headers: [], ...request });
  return { outbound, forward };
}

/** Waits until a count stays the same: the buffers of the sockets are full. */
async function untilStill(count: () => number): Promise<void> {
  let before = -1;
  const isStill = () => {
    const last = before;
    before = count();
    return before === last;
  };
  await expect.poll(isStill, { interval: 100 }).toBe(true);
}

describe('a streamed exchange', () => {
  test('sends method, path, headers and body as they are, and adds nothing but Host', async () => {
    const raw = Promise.withResolvers<string>();
    const { forward } = await startRawHost((request) => {
      raw.resolve(request.toString('latin1'));
      return [head('content-length: 2'), 'ok'];
    });
    const { status, body } = await forward({
      method: 'DELETE',
      path: '/api//v1/%2e%2E/a;b=c?q=%41+%20&&x',
      headers: ['X-One', '1', 'x-one', '2', 'Content-Length', '3'],
      body: Readable.from([Buffer.from('a\0b')]),
    });
    expect([status, await text(body)]).toEqual([200, 'ok']);
    expect(await raw.promise).toMatch(
      /^DELETE \/api\/\/v1\/%2e%2E\/a;b=c\?q=%41\+%20&&x HTTP\/1\.1\r\nhost: 127\.0\.0\.1:\d+\r\nconnection: (close|keep-alive)\r\nX-One: 1\r\nx-one: 2\r\ncontent-length: 3\r\n\r\na\0b$/,
    );
  });

  test('passes each part of the bodies on before the next one exists', async () => {
    const { forward } = await startHost(async (request, response) => {
      for await (const chunk of request) response.write(`(${chunk})`);
      response.end('.');
    });
    const upload = new Readable({ read() {} });
    upload.push('a');
    const { body } = await forward({ method: 'POST', body: upload });
    const parts = body[Symbol.asyncIterator]();
    const next = async () => String((await parts.next()).value);
    expect(await next()).toBe('(a)');
    upload.push('b');
    expect(await next()).toBe('(b)');
    upload.push(null);
    expect(await next()).toBe('.');
  });

  test('reads a response only as fast as its reader', async () => {
    let sent = 0;
    const { forward } = await startHost((_, response) => {
      const chunk = Buffer.alloc(64 * 1024);
      const pour = () => {
        while (sent < 64 * mebibyte) {
          sent += chunk.length;
          if (!response.write(chunk)) return;
        }
        response.end();
      };
      response.on('drain', pour);
      pour();
    });
    const { body } = await forward();
    await untilStill(() => sent);
    expect(body.heldBytes).toBeLessThan(256 * 1024);
    expect(sent).toBeLessThan(16 * mebibyte);
    let received = 0;
    for await (const chunk of body) received += chunk.length;
    expect(received).toBe(64 * mebibyte);
  });

  test('buffers little of many downloads that nobody reads', async () => {
    const downloads = 40;
    const { forward } = await startHost((_, response) => {
      const chunk = Buffer.alloc(64 * 1024);
      const pour = () => {
        while (response.write(chunk));
      };
      response.on('drain', pour);
      pour();
    });
    const responses = await Promise.all(Array.from({ length: downloads }, () => forward()));
    const received = () => responses.map((response) => response.transferred.received);
    await untilStill(() => received().reduce((sum, bytes) => sum + bytes, 0));
    expect(Math.min(...received())).toBeGreaterThan(0);
    expect(Math.max(...received())).toBeLessThanOrEqual(192 * 1024);
    for (const { body } of responses) body.destroy();
  });

  test('reads an upload only as fast as the host takes it', async () => {
    const { forward } = await startHost((request) => void request.pause(), {
      maxRequestBytes: 1024 * mebibyte,
    });
    let read = 0;
    const endless = new Readable({
      read() {
        read += 64 * 1024;
        this.push(Buffer.alloc(64 * 1024));
      },
    });
    const stopping = new AbortController();
    const ending = forward({ method: 'PUT', body: endless, signals: [stopping.signal] }).catch(
      ({ reason }) => reason,
    );
    await untilStill(() => read);
    stopping.abort();
    expect(await ending).toBe('ABORTED');
    expect(read).toBeLessThan(32 * mebibyte);
    expect(endless.destroyed).toBe(true);
  });

  test.each(['GET', 'HEAD'])(
    'keeps the headers of 304 and of HEAD, and follows no redirect: %s',
    async (method) => {
      const { forward } = await startHost((_, response) => {
        response.writeHead(302, { location: '/elsewhere', 'content-length': 0, 'x-a': ['1', '2'] }).end();
      });
      const { status, headers, body } = await forward({ method });
      expect([status, headers.location, headers['x-a']]).toEqual([302, '/elsewhere', ['1', '2']]);
      expect(await text(body)).toBe('');
    },
  );

  test('ignores interim responses', async () => {
    const { forward } = await startRawHost(() => [
      'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n',
      head('content-length: 2'),
      'ok',
    ]);
    const { status, headers, body } = await forward();
    expect([status, headers.link, await text(body)]).toEqual([200, undefined, 'ok']);
  });

  test('over TLS, 4 MiB arrive whole', async () => {
    const bytes = Buffer.alloc(4 * mebibyte, 'abcdefg');
    const host = await startRawHttpServer(
      () => [head(`content-length: ${bytes.length}`), bytes],
      certificates.good,
    );
    onTestFinished(host.close);
    const { forward } = forwarder(host.origin, {});
    const { body } = await forward();
    expect((await buffer(body)).equals(bytes)).toBe(true);
  });

  test('accepts a body in chunks of 512 bytes', async () => {
    const chunk = `200\r\n${'x'.repeat(512)}\r\n`;
    const { forward } = await startRawHost(() => [chunked, chunk.repeat(20_000), '0\r\n\r\n']);
    const { body } = await forward();
    expect((await text(body)).length).toBe(20_000 * 512);
  });

  test.each<[string, ResponseChunks, string]>([
    [
      'that announces too many bytes',
      () => [head('content-length: 2097153')],
      'the response is larger than 2097152 bytes',
    ],
    [
      'of too many bytes',
      () => endlessly(chunked, `1000\r\n${'x'.repeat(4096)}\r\n`),
      'the response is larger than 2097152 bytes',
    ],
    [
      'in chunks of one byte',
      () => endlessly(chunked, '1\r\nx\r\n'.repeat(500)),
      'the response has more than',
    ],
    ['with endless chunk extensions', () => endlessly(`${chunked}1;`, 'x'.repeat(1024)), 'the response'],
    ['with endless headers', () => endlessly('HTTP/1.1 200 OK\r\n', 'x: y\r\n'), 'the response'],
    [
      'with endless interim responses',
      () => endlessly('', 'HTTP/1.1 103 E\r\n\r\n'),
      'the host sent more than 8 interim',
    ],
    ['with 201 headers', () => [head(...Array(201).fill('x: y'))], 'the response has more than 200 headers'],
    [
      'that ends early',
      () => [head('content-length: 10'), 'x', closeConnection],
      'the connection was closed',
    ],
  ])('fails for a response %s', async (_, chunks, message) => {
    const { forward, disconnected } = await startRawHost(chunks, { maxResponseBytes: 2 * mebibyte });
    const error = await forward()
      .then(({ body }) => buffer(body))
      .catch((reason) => reason);
    expect(error).toMatchObject({ name: 'OutboundError', message: expect.stringContaining(message) });
    await disconnected;
  });

  test('fails when an upload is too large, with and without a length', async () => {
    const { forward } = await startHost(
      (request, response) => {
        request.resume().on('end', () => response.end());
      },
      { maxRequestBytes: 100 },
    );
    for (const headers of [[], ['content-length', '101']]) {
      const body = Readable.from([Buffer.alloc(101)]);
      await expect(forward({ method: 'POST', headers, body })).rejects.toMatchObject({
        reason: 'REQUEST_TOO_LARGE',
        message: 'the request is larger than 100 bytes',
      });
    }
    const { status } = await forward({ method: 'POST', body: Readable.from([Buffer.alloc(100)]) });
    expect(status).toBe(200);
  });

  test('fails after a time without a byte, and after the time of the exchange', async () => {
    const idle = await startHost(() => {}, { idleTimeoutMs: 100 });
    await expect(idle.forward()).rejects.toThrow('the host sent nothing for 0.1 s');
    const dripping: RequestListener = (_, response) => {
      const drip = setInterval(() => response.write('x'.repeat(300)), 20);
      response.once('close', () => clearInterval(drip));
    };
    const slow = await startHost(dripping, { timeoutMs: 500 });
    const { body } = await slow.forward();
    await expect(buffer(body)).rejects.toThrow('the response was not complete within 0.5 s');
    const large = await startRawHost(() => endlessly(head(), 'x'.repeat(mebibyte)), { idleTimeoutMs: 1_000 });
    const unread = await large.forward();
    await new Promise<void>((resolve) => unread.body.onClose(resolve));
    expect(unread.body.failure).toMatchObject({
      reason: 'UNREAD',
      message: 'the client read nothing for 1 s',
    });
  });

  test('ends the exchange with the host when its reader stops', async () => {
    const { forward, disconnected } = await startRawHost(() => endlessly(head(), 'x'.repeat(1024)));
    const { body } = await forward();
    body.destroy();
    await disconnected;
  });
});

describe('slots of streamed exchanges', () => {
  test('are apart from those of other requests, and free when the response has ended', async () => {
    const slow = await startOkta({ handler: slowHeaders });
    onTestFinished(() => slow.close());
    const { outbound } = forwarder(slow.origin, {});
    const url = new URL(slow.origin);
    const request = { method: 'GET', path: '/', headers: [] };
    const mine = outbound.onBehalfOf({ orgId: 'a', callerId: 'a 1' });
    const stopping = new AbortController();
    const hanging = Array.from({ length: streamedLimits.perCaller }, () =>
      mine.forward(url, { ...request, signals: [stopping.signal] }).catch(({ reason }) => reason),
    );
    await expect(mine.forward(url, request)).rejects.toMatchObject({
      reason: 'BUSY',
      message: '128 other requests of this API key or token are waiting for their hosts',
    });
    const others = outbound.onBehalfOf({ orgId: 'b', callerId: 'b 1' });
    await expect.poll(() => slow.requests.length).toBe(streamedLimits.perCaller);
    slow.behave((_, response) => void response.end('ok'));
    expect((await mine.get(url, { headers: {} })).body).toBe('ok');
    expect(await text((await others.forward(url, request)).body)).toBe('ok');
    stopping.abort();
    expect(new Set(await Promise.all(hanging))).toEqual(new Set(['ABORTED']));
    expect(await text((await mine.forward(url, request)).body)).toBe('ok');
    expect(bufferedLimits.perCaller).toBeLessThan(streamedLimits.perCaller);
  });

  test('nothing is sent to a forbidden host', async () => {
    const { outbound } = forwarder('http://127.0.0.1:9', {});
    for (const url of ['http://example.com', 'https://127.0.0.1', 'https://10.1.2.3', 'https://localhost']) {
      await expect(
        outbound.forward(new URL(url), { method: 'GET', path: '/', headers: [] }),
      ).rejects.toHaveProperty('reason', 'HOST_NOT_ALLOWED');
    }
  });
});

test('a body sends all of the memory that small buffers share, which cannot be freed', async () => {
  const pieces: Buffer[] = [];
  const isWhole = () => pieces.length * 8_192 === pieces[0]?.buffer.byteLength;
  while (!isWhole()) {
    const piece = Buffer.allocUnsafe(8_192).fill(pieces.length);
    if (piece.byteOffset === 0) pieces.length = 0;
    pieces.push(piece.fill(pieces.length));
  }
  const sent = Buffer.concat(pieces);
  const body = new StreamedBody({ resume: () => {}, abort: () => {} });
  const response = new PassThrough();
  body.sendTo(response);
  const received = buffer(response);
  for (const piece of pieces) body.push(piece);
  body.push(Buffer.from('!'));
  body.end();
  expect((await received).equals(Buffer.concat([sent, Buffer.from('!')]))).toBe(true);
});
