import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
import type { Lookup } from '../../../src/outbound/dns.ts';
import {
  closeConnection,
  endlessly,
  type ResponseChunks,
  reset,
  startRawHttpServer,
} from '../raw-http-server.ts';
import { failingLookup } from './fixture.ts';
import { echoes } from './token-echo-hosts.ts';

const user = JSON.stringify({ id: '00ub0oNGTSWTBKOLGLNR', profile: { login: 'ada@example.com' } });
const head = (status: string, ...headers: string[]) =>
  [`HTTP/1.1 ${status}`, ...headers, '', ''].join('\r\n');
const chunked = head('200 OK', 'transfer-encoding: chunked');
const withBody = (body: string | Buffer, ...headers: string[]) => {
  const bytes = Buffer.from(body);
  return Buffer.concat([Buffer.from(head('200 OK', `content-length: ${bytes.length}`, ...headers)), bytes]);
};
const always =
  (...pieces: ReturnType<ResponseChunks> extends Iterable<infer Piece> ? Piece[] : never) =>
  () =>
    pieces;
const compressed = (encoding: string, body: Buffer) =>
  always(withBody(body, `content-encoding: ${encoding}`));
const zeros = Buffer.alloc(20_000_000);

/** The responses of hostile and broken hosts. */
const behaviours: Readonly<Record<string, ResponseChunks>> = {
  ...echoes,
  'a good answer': always(withBody(user)),
  'no answer': always(),
  'nothing but the end': always(closeConnection),
  'a reset': always(reset),
  'a reset in the body': always(head('200 OK', 'content-length: 100'), 'x', reset),
  'half a body, then the end': always(head('200 OK', 'content-length: 100'), 'x', closeConnection),
  'half a body, then nothing': always(head('200 OK', 'content-length: 100'), 'x'),
  'half the headers': always('HTTP/1.1 200 OK\r\ncontent-'),
  'chunks of one byte': () => endlessly(chunked, '1\r\nx\r\n'.repeat(500)),
  'chunk extensions': () => endlessly(`${chunked}1;`, 'x'.repeat(1_000)),
  'a chunk of 16 EiB': always(`${chunked}ffffffffffffffff\r\n`, 'x'.repeat(1_000)),
  headers: () => endlessly('HTTP/1.1 200 OK\r\n', 'x: y\r\n'.repeat(500)),
  'a header': () => endlessly('HTTP/1.1 200 OK\r\nx: ', 'y'.repeat(1_000)),
  trailers: () => endlessly(`${chunked}0\r\n`, 'x: y\r\n'.repeat(500)),
  'interim responses': () => endlessly('', 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(50)),
  'empty lines': () => endlessly('\r\n', '\r\n'.repeat(500)),
  'a body without an end': () => endlessly(head('200 OK'), 'x'.repeat(10_000)),
  'another answer behind the answer': always(Buffer.concat([withBody(user), withBody('{"id":"00uOther"}')])),
  'two lengths': always(head('200 OK', 'content-length: 2', 'content-length: 3'), 'abc'),
  'a length and chunks': always(
    head('200 OK', 'content-length: 2', 'transfer-encoding: chunked'),
    '0\r\n\r\n',
  ),
  'a negative length': always(head('200 OK', 'content-length: -1'), closeConnection),
  'a switch of protocols': always(
    head('101 Switching Protocols', 'connection: upgrade', 'upgrade: h2c'),
    'PRI',
  ),
  'HTTP/2': always(Buffer.from('000012040000000000000300000064', 'hex')),
  'HTTP/0.9': always(user, closeConnection),
  'a status of 999': always(head('999 What', 'content-length: 0')),
  'a status of 99': always(head('99 What', 'content-length: 0')),
  'no content': always(head('204 No Content')),
  'a way elsewhere': always(head('302 Found', 'location: http://169.254.169.254/', 'content-length: 0')),
  'a limit that ends in the year 9999': always(
    head(
      '429 Too Many',
      `x-rate-limit-reset: ${'9'.repeat(11)}`,
      'retry-after: -1, 1e9',
      'content-length: 0',
    ),
  ),
  'an outage with a clock of its own': always(
    head(
      '503 Away',
      'date: Thu, 01 Jan 1970 00:00:00 GMT',
      'retry-after: Thu, 01 Jan 1970 00:00:09 GMT',
      'content-length: 0',
    ),
  ),
  'NUL in a header': always(head('200 OK', 'x: a\0b', 'content-length: 0')),
  'headers of JavaScript': always(withBody(user, '__proto__: x', 'constructor: x', 'tostring: x')),
  'JSON that is nested deep': always(withBody('['.repeat(60_000))),
  'JSON with very many members': always(withBody(`{${'"":0,'.repeat(13_000)}"id":"00uB"}`)),
  'JSON with __proto__': always(
    withBody('{"__proto__":{"id":"00ub0oNGTSWTBKOLGLNR"},"profile":{"__proto__":null}}'),
  ),
  'JSON with one member twice': always(
    withBody('{"id":1,"id":"00ub0oNGTSWTBKOLGLNR","profile":[],"status":{}}'),
  ),
  'a number of 60,000 digits': always(withBody(`{"id":${'9'.repeat(60_000)}}`)),
  'JSON behind a BOM': always(withBody(`\uFEFF${user}`)),
  'JSON in UTF-16': always(withBody(Buffer.from(`\uFEFF${user}`, 'utf16le'))),
  'bytes that are not UTF-8': always(withBody(Buffer.alloc(1_000, 0xff))),
  'a bomb of gzip': compressed('gzip', gzipSync(zeros)),
  'a bomb of brotli': compressed('br', brotliCompressSync(zeros.subarray(0, 2_000_000))),
  'a bomb of zstd': compressed('zstd', zstdCompressSync(zeros)),
  'gzip of gzip': compressed('gzip, gzip', gzipSync(gzipSync(zeros))),
  'gzip of very many members': compressed(
    'gzip',
    Buffer.concat(Array.from({ length: 3_000 }, () => gzipSync(''))),
  ),
  'gzip that is none': compressed('gzip', Buffer.from(user)),
};

/** Hosts on this machine, one for each behaviour, with http and https URLs; none of them speaks TLS. */
export interface HostileHosts {
  origins: readonly string[];
  /** Their entries for the trusted hosts. */
  hostPorts: ReadonlySet<string>;
  /** The names of the behaviours. */
  behaviours: readonly string[];
  /** The behaviours that occurred. */
  asked(): ReadonlySet<string>;
  close(): Promise<void>;
}

/** Resolves only these hosts. */
export const hostileHosts: Lookup = async (name) =>
  name.endsWith('.hostile.test') ? [{ address: '127.0.0.1', family: 4 }] : failingLookup(name);

/** Starts the hosts; the `Host` header of a request selects the behaviour. */
export async function startHostileHosts(): Promise<HostileHosts> {
  const names = Object.keys(behaviours);
  const asked = new Set<string>();
  const host = await startRawHttpServer((request) => {
    const text = request.toString('latin1');
    const name = names[Number(/^host: h(\d+)\./im.exec(text)?.[1])];
    if (name === undefined) return ['what is asked here is not HTTP'];
    asked.add(name);
    return behaviours[name]?.(request) ?? [];
  });
  const hostPorts = names.map((_, index) => `h${index}.hostile.test:${host.port}`);
  return {
    // Mostly http, because over https no request gets a response.
    origins: ['http', 'http', 'http', 'https'].flatMap((scheme) =>
      hostPorts.map((each) => `${scheme}://${each}`),
    ),
    hostPorts: new Set(hostPorts),
    behaviours: names,
    asked: () => asked,
    close: host.close,
  };
}
