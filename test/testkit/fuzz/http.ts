import { gzipSync } from 'node:zlib';
import type { Random } from './random.ts';
import { corrupt, type Fixture } from './values.ts';

/** A request, byte for byte. */
export interface HostileRequest {
  /** The kind of request. */
  kind: string;
  bytes: Buffer;
  /** Whether the request is complete and gets a response; otherwise the client disconnects after the bytes. */
  isWhole: boolean;
}

/** A body as bytes: mostly JSON, sometimes mutated, rarely in another encoding. */
export function encode(random: Random, fixture: Fixture, value: unknown): Buffer {
  const written = JSON.stringify(value);
  if (random.isTrue(0.1)) return Buffer.from(corrupt(random, fixture, written));
  if (random.isTrue(0.03))
    return Buffer.concat([Buffer.from(written.slice(0, random.below(written.length))), random.bytes(40)]);
  if (random.isTrue(0.02)) return Buffer.from(written, random.pick(['utf16le', 'latin1']));
  if (random.isTrue(0.01)) return gzipSync(written);
  if (random.isTrue(0.005)) return Buffer.from(written + ' '.repeat(150_000));
  return Buffer.from(written);
}

/** A request with the usual headers, and sometimes unusual ones. */
export function http(
  random: Random,
  fixture: Fixture,
  method: string,
  path: string,
  body?: Buffer,
  more: readonly [string, string][] = [],
): Omit<HostileRequest, 'kind'> {
  const { apiKey, planted } = fixture;
  const isWhole = random.isTrue(0.98);
  const authorization = random.isTrue(0.85)
    ? `Bearer ${apiKey}`
    : random.pick([
        `Bearer ${planted}`,
        planted,
        `Basic ${Buffer.from(planted).toString('base64')}`,
        `Bearer ${apiKey}x`,
        'Bearer',
        '',
        `Bearer eyJhbGciOiJub25lIn0.${planted}.`,
      ]);
  const headers: [string, string][] = [
    ['Host', '127.0.0.1'],
    ['Connection', 'close'],
    // Two of these are refused at once.
    ...(more.some(([name]) => name === 'Authorization')
      ? []
      : [['Authorization', authorization] as [string, string]]),
    ...more,
  ];
  if (body) {
    headers.push([
      'Content-Type',
      random.isTrue(0.93)
        ? 'application/json'
        : random.pick([
            'text/plain',
            'application/x-www-form-urlencoded',
            'multipart/form-data; boundary=x',
            'application/json; charset=utf-7',
            'application/graphql',
            '',
          ]),
    ]);
    headers.push(['Content-Length', `${isWhole ? body.length : random.below(2 * body.length + 2)}`]);
  }
  if (random.isTrue(0.2)) {
    headers.push([
      'Accept',
      random.pick([
        '*/*',
        'application/json',
        'text/event-stream',
        'text/html',
        'application/graphql-response+json',
        'multipart/mixed',
        'image/*',
        ',;q=x',
      ]),
    ]);
  }
  if (random.isTrue(0.1))
    headers.push(['Idempotency-Key', random.pick(['one', 'two', 'a b', 'é', 'x'.repeat(200), planted])]);
  if (random.isTrue(0.05))
    headers.push(['X-Forwarded-For', random.pick(['127.0.0.1', '::1', '", "', planted])]);
  if (random.isTrue(0.05))
    headers.push(['Cookie', planted], ['Origin', random.pick(['null', 'https://evil.example', planted])]);
  if (random.isTrue(0.02)) headers.push(['Content-Encoding', random.pick(['gzip', 'br', 'identity', 'x'])]);
  if (random.isTrue(0.01)) headers.push(['X-Large', 'x'.repeat(20_000)]);
  const head = [
    `${method} ${path} HTTP/1.1`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
    '',
    '',
  ].join('\r\n');
  return { isWhole, bytes: Buffer.concat([Buffer.from(head, 'latin1'), ...(body ? [body] : [])]) };
}
