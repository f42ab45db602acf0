import { gzipSync } from 'node:zlib';
import type { GraphQLSchema } from 'graphql';
import { graphqlBody } from './graphql.ts';
import { Random } from './random.ts';
import { type Ground, json, spoil, text, token, url } from './values.ts';

/** A request, byte for byte. */
export interface HostileRequest {
  /** What it was made as. */
  kind: string;
  bytes: Buffer;
  /** Whether it has an end, so that there is an answer to wait for; else it is cut off where it ends. */
  isWhole: boolean;
}

/** The request of this number under this seed, always the same one. */
export function hostileRequest(
  seed: number,
  number: number,
  ground: Ground,
  schema: GraphQLSchema,
): HostileRequest {
  const random = new Random(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b));
  const kind = random.below(20);
  if (kind < 11) return graphql(random, ground, schema);
  if (kind < 18) return rest(random, ground);
  return raw(random, ground);
}

function graphql(random: Random, ground: Ground, schema: GraphQLSchema): HostileRequest {
  const body = graphqlBody(random, ground, schema);
  if (random.isTrue(0.1)) {
    const query = new URLSearchParams(
      Object.entries(Object(body)).map(([name, value]) => [name, asText(value)]),
    );
    return { kind: 'GraphQL over GET', ...http(random, ground, 'GET', `/graphql?${query}`) };
  }
  return { kind: 'GraphQL', ...http(random, ground, 'POST', '/graphql', encode(random, ground, body)) };
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value.toWellFormed() : JSON.stringify(value);
}

const root = '/api/v1/app-connections';

function rest(random: Random, ground: Ground): HostileRequest {
  const segment = () =>
    random.pick([
      random.pick(ground.ids),
      random.pick(ground.names),
      encodeURIComponent(text(random, ground).toWellFormed()),
      '%',
      '%zz',
      '%00',
      '..',
      '',
    ]);
  const one = () => `${root}/okta/${random.pick(ground.ids)}`;
  const [method, path] = random.isTrue(0.8)
    ? random.pick<() => [string, string]>([
        () => ['POST', `${root}/okta`],
        () => ['POST', `${root}/okta`],
        () => ['PATCH', one()],
        () => ['PATCH', one()],
        () => ['DELETE', one()],
        () => ['GET', one()],
        () => ['GET', root],
        () => ['GET', `${root}/okta/connection-name/${segment()}`],
        () => ['GET', `${root}/okta/available`],
        () => ['GET', `${root}/options`],
        () => ['GET', `${one()}/verification`],
        () => ['POST', `${one()}/verify`],
        () => ['POST', `${one()}/restore`],
        () => ['POST', `${root}/okta/validate`],
        () => ['POST', `${root}/okta`],
        () => ['POST', `${root}/okta`],
        // The names in the trail and of projects are hostile texts of earlier requests, which look like faults in answers.
        () => ['GET', `/api/v1/audit-events?action=x&subject=${segment()}&from=${segment()}`],
        () => ['GET', '/api/v1/viewer'],
        () => ['GET', `/api/v1/projects?cursor=x${segment()}`],
      ])()
    : [
        random.pick(['GET', 'POST', 'PATCH', 'DELETE', 'PUT', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY']),
        random.pick([
          `${root}/okta/${segment()}`,
          `${root}/${segment()}/${segment()}`,
          `/api/v1/${segment()}`,
          '/api/v1/openapi.json',
          `/${segment()}`,
        ]),
      ];
  const query = random.isTrue(0.2)
    ? `?${random.list(3, () => `${random.pick(['projectId', 'limit', 'cursor', 'purge', 'version', 'x', '__proto__'])}=${segment()}`).join('&')}`
    : '';
  const hasBody = ['POST', 'PATCH', 'PUT'].includes(method) || random.isTrue(0.05);
  const body = hasBody ? encode(random, ground, restBody(random, ground)) : undefined;
  return { kind: 'REST', ...http(random, ground, method, path + query, body) };
}

function restBody(random: Random, ground: Ground): unknown {
  if (random.isTrue(0.15)) return json(random, ground);
  const body: Record<string, unknown> = {
    name: random.isTrue(0.8) ? `fuzz-${random.below(1_000)}` : json(random, ground, 1),
    method: random.isTrue(0.9) ? 'api-token' : json(random, ground, 1),
    credentials: { instanceUrl: url(random), apiToken: token(random, ground) },
  };
  if (random.isTrue(0.3))
    body.description = random.isTrue(0.7) ? text(random, ground) : json(random, ground, 1);
  if (random.isTrue(0.3))
    body.projectId = random.pick([
      ground.projectId,
      ground.projectId,
      random.pick(ground.ids),
      json(random, ground, 1),
    ]);
  if (random.isTrue(0.1)) body.credentials = { apiToken: [ground.planted], [ground.planted]: 1 };
  if (random.isTrue(0.1)) body.version = json(random, ground, 1);
  if (random.isTrue(0.1)) body.onUnreachable = random.pick(['SAVE_UNVERIFIED', 'FAIL', 'x', null]);
  if (random.isTrue(0.1)) body[random.pick(['__proto__', 'constructor', ground.planted])] = ground.planted;
  return Object.fromEntries(Object.entries(body).filter(() => random.isTrue(0.95)));
}

/** A body as bytes: JSON mostly, spoilt now and then, of other encodings rarely. */
function encode(random: Random, ground: Ground, value: unknown): Buffer {
  const written = JSON.stringify(value);
  if (random.isTrue(0.1)) return Buffer.from(spoil(random, ground, written));
  if (random.isTrue(0.03))
    return Buffer.concat([Buffer.from(written.slice(0, random.below(written.length))), random.bytes(40)]);
  if (random.isTrue(0.02)) return Buffer.from(written, random.pick(['utf16le', 'latin1']));
  if (random.isTrue(0.01)) return gzipSync(written);
  if (random.isTrue(0.005)) return Buffer.from(written + ' '.repeat(150_000));
  return Buffer.from(written);
}

function http(
  random: Random,
  ground: Ground,
  method: string,
  path: string,
  body?: Buffer,
): Omit<HostileRequest, 'kind'> {
  const { apiKey, planted } = ground;
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
    ['Authorization', authorization],
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

/** What is hardly HTTP. */
function raw(random: Random, ground: Ground): HostileRequest {
  const line = random.pick([
    ...[
      'GET / HTTP/9.9',
      'GET /graphql',
      'POST /graphql HTTP/1.0',
      'GET //graphql HTTP/1.1',
      'GET /graphql?query={__typename} HTTP/1.1',
    ],
    ...[
      'CONNECT example.okta.com:443 HTTP/1.1',
      'OPTIONS * HTTP/1.1',
      'PRI * HTTP/2.0',
      '\x16\x03\x01\x02\x00\x01\x00',
      `GET /${ground.planted} HTTP/1.1`,
    ],
    ...[
      'GET http://127.0.0.1/health/ready HTTP/1.1',
      'GET /health/ready HTTP/1.1',
      'G\0T / HTTP/1.1',
      'GET /%c0%ae%c0%ae/ HTTP/1.1',
    ],
  ]);
  const headers = random.list(6, () =>
    random.pick([
      ...[
        'Host: 127.0.0.1',
        'Host: 127.0.0.1',
        'Host: evil.example',
        'Content-Length: 5',
        'Content-Length: -1',
        'Content-Length: 5, 6',
      ],
      ...[
        'Transfer-Encoding: chunked',
        'Transfer-Encoding: chunked, identity',
        'Expect: 100-continue',
        'Upgrade: websocket',
        'Connection: upgrade',
      ],
      ...[
        ' folded: header',
        'No-Colon',
        ': empty',
        `X: ${ground.planted}`,
        'Connection: close',
        `Authorization: Bearer ${ground.apiKey}`,
      ],
    ]),
  );
  const head = Buffer.from([line, ...headers, '', ''].join('\r\n'), 'latin1');
  return { kind: 'hardly HTTP', isWhole: false, bytes: Buffer.concat([head, random.bytes(60)]) };
}
