import { createHash } from 'node:crypto';
import type { GraphQLSchema } from 'graphql';
import { graphqlBody } from './graphql.ts';
import { encode, type HostileRequest, http } from './http.ts';
import { Random } from './random.ts';
import { useConnection } from './use-requests.ts';
import { type Fixture, json, text, token, url } from './values.ts';

/** Builds the request with this index; deterministic for a seed. */
export function hostileRequest(
  seed: number,
  number: number,
  fixture: Fixture,
  schema: GraphQLSchema,
): HostileRequest {
  const random = new Random(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b));
  // The other requests stay what they are: kinds of errors are reached by chance.
  if (number % 6 === 5) return useConnection(random, fixture);
  const kind = random.below(22);
  if (kind < 11) return graphql(random, fixture, schema);
  if (kind < 18) return rest(random, fixture);
  if (kind < 20) return raw(random, fixture);
  return kind < 21 ? askHostileHost(random, fixture) : fillCaches(random, fixture);
}

function graphql(random: Random, fixture: Fixture, schema: GraphQLSchema): HostileRequest {
  const body = graphqlBody(random, fixture, schema);
  if (random.isTrue(0.1)) {
    const query = new URLSearchParams(
      Object.entries(Object(body)).map(([name, value]) => [name, asText(value)]),
    );
    return { kind: 'GraphQL over GET', ...http(random, fixture, 'GET', `/graphql?${query}`) };
  }
  return { kind: 'GraphQL', ...http(random, fixture, 'POST', '/graphql', encode(random, fixture, body)) };
}

/** Makes the server call a hostile host; some of these requests store the result. */
function askHostileHost(random: Random, fixture: Fixture): HostileRequest {
  const host = fixture.hosts.length > 0 ? random.pick(fixture.hosts) : url(random, fixture);
  const instanceUrl = random.isTrue(0.1) ? 'https://169.254.169.254' : host;
  const credentials = { instanceUrl, apiToken: fixture.planted };
  const body = random.isTrue(0.6)
    ? { credentials }
    : {
        name: `hostile-${random.below(1_000)}`,
        method: 'api-token',
        credentials,
        onUnreachable: 'SAVE_UNVERIFIED',
      };
  const path = 'name' in body ? `${root}/okta` : `${root}/okta/validate`;
  return { kind: 'hostile host', ...http(random, fixture, 'POST', path, Buffer.from(JSON.stringify(body))) };
}

/** A valid request that never repeats, so that it misses every cache and fills it. */
function fillCaches(random: Random, fixture: Fixture): HostileRequest {
  const kind = 'cache';
  const id = () => random.below(2 ** 32).toString(36);
  const comment = `#${id()}${' '.repeat(random.below(8_000))}`;
  const fields = Array.from({ length: 1 + random.below(12) }, () => `f${id()}: __typename`).join(' ');
  const query = `query Q${id()} { ${fields} ${random.isTrue(0.5) ? 'viewer { scopes }' : ''} } ${comment}`;
  const sha256Hash = createHash('sha256').update(query).digest('hex');
  const persisted = random.isTrue(0.4) && { extensions: { persistedQuery: { version: 1, sha256Hash } } };
  const unknown = {
    ...fixture,
    apiKey: random.isTrue(0.2) ? `unknown-${id().padEnd(40, 'x')}` : fixture.apiKey,
  };
  if (random.isTrue(0.3)) {
    return {
      kind,
      ...http(random, unknown, 'GET', `/graphql?query=${encodeURIComponent(query.slice(0, 4_000))}`),
    };
  }
  const body = Buffer.from(JSON.stringify({ query, variables: { [id()]: 1 }, ...persisted }));
  return { kind, ...http(random, unknown, 'POST', '/graphql', body) };
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value.toWellFormed() : JSON.stringify(value);
}

const root = '/api/v1/app-connections';

function rest(random: Random, fixture: Fixture): HostileRequest {
  const [method, path] = random.isTrue(0.8) ? knownRoute(random, fixture) : anyRoute(random, fixture);
  const parameters = ['projectId', 'limit', 'cursor', 'purge', 'version', 'tags', 'x', '__proto__'];
  const parameter = () => `${random.pick(parameters)}=${segment(random, fixture)}`;
  const query = random.isTrue(0.2) ? `?${random.list(3, parameter).join('&')}` : '';
  const hasBody = ['POST', 'PATCH', 'PUT'].includes(method) || random.isTrue(0.05);
  const body = hasBody ? encode(random, fixture, restBody(random, fixture)) : undefined;
  return { kind: 'REST', ...http(random, fixture, method, path + query, body) };
}

type Route = [method: string, path: string];

function knownRoute(random: Random, fixture: Fixture): Route {
  const one = () => `${root}/okta/${random.pick(fixture.ids)}`;
  return random.pick<() => Route>([
    () => ['POST', `${root}/okta`],
    () => ['POST', `${root}/okta`],
    () => ['PATCH', one()],
    () => ['PATCH', one()],
    () => ['DELETE', one()],
    () => ['GET', one()],
    () => ['GET', root],
    () => ['GET', `${root}/okta/connection-name/${segment(random, fixture)}`],
    () => ['GET', `${root}/okta/available`],
    () => ['GET', `${root}/options`],
    () => ['GET', `${one()}/verification`],
    () => ['POST', `${one()}/verify`],
    () => ['POST', `${one()}/restore`],
    () => ['POST', `${root}/okta/validate`],
    () => ['POST', `${root}/okta`],
    () => ['POST', `${root}/okta`],
    // The filters match nothing: audit events and projects contain hostile texts of earlier requests, which the checks would take for leaks.
    () => {
      const [subject, from] = [segment(random, fixture), segment(random, fixture)];
      return ['GET', `/api/v1/audit-events?action=x&subject=${subject}&from=${from}`];
    },
    () => ['GET', '/api/v1/viewer'],
    () => ['GET', `/api/v1/projects?cursor=x${segment(random, fixture)}`],
  ])();
}

/** Any method, and a path that may have no route. */
function anyRoute(random: Random, fixture: Fixture): Route {
  const any = () => segment(random, fixture);
  return [
    random.pick(['GET', 'POST', 'PATCH', 'DELETE', 'PUT', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY']),
    random.pick([
      `${root}/okta/${any()}`,
      `${root}/${any()}/${any()}`,
      `/api/v1/${any()}`,
      '/api/v1/openapi.json',
      `/${any()}`,
    ]),
  ];
}

/** A segment of a path, or a value of a query. */
function segment(random: Random, fixture: Fixture): string {
  return random.pick([
    random.pick(fixture.ids),
    random.pick(fixture.names),
    encodeURIComponent(text(random, fixture).toWellFormed()),
    '%',
    '%zz',
    '%00',
    '..',
    '',
  ]);
}

function restBody(random: Random, fixture: Fixture): unknown {
  if (random.isTrue(0.15)) return json(random, fixture);
  const body: Record<string, unknown> = {
    name: random.isTrue(0.8) ? `fuzz-${random.below(1_000)}` : json(random, fixture, 1),
    method: random.isTrue(0.9) ? 'api-token' : json(random, fixture, 1),
    credentials: { instanceUrl: url(random, fixture), apiToken: token(random, fixture) },
  };
  if (random.isTrue(0.3))
    body.description = random.isTrue(0.7) ? text(random, fixture) : json(random, fixture, 1);
  if (random.isTrue(0.3))
    body.projectId = random.pick([
      fixture.projectId,
      fixture.projectId,
      random.pick(fixture.ids),
      json(random, fixture, 1),
    ]);
  if (random.isTrue(0.1)) {
    const value = () => (random.isTrue(0.7) ? text(random, fixture) : json(random, fixture, 1));
    body.tags = random.isTrue(0.8) ? random.list(3, () => ({ key: value(), value: value() })) : value();
    body.owner = random.isTrue(0.8) ? { name: value(), email: value() } : value();
    body.notes = value();
  }
  if (random.isTrue(0.1)) body.credentials = { apiToken: [fixture.planted], [fixture.planted]: 1 };
  if (random.isTrue(0.1)) body.version = json(random, fixture, 1);
  if (random.isTrue(0.1)) body.onUnreachable = random.pick(['SAVE_UNVERIFIED', 'FAIL', 'x', null]);
  if (random.isTrue(0.1)) body[random.pick(['__proto__', 'constructor', fixture.planted])] = fixture.planted;
  return Object.fromEntries(Object.entries(body).filter(() => random.isTrue(0.95)));
}

/** Bytes that are barely HTTP. */
function raw(random: Random, fixture: Fixture): HostileRequest {
  const line = random.pick([
    'GET / HTTP/9.9',
    'GET /graphql',
    'POST /graphql HTTP/1.0',
    'GET //graphql HTTP/1.1',
    'GET /graphql?query={__typename} HTTP/1.1',
    'CONNECT example.okta.com:443 HTTP/1.1',
    'OPTIONS * HTTP/1.1',
    'PRI * HTTP/2.0',
    '\x16\x03\x01\x02\x00\x01\x00',
    `GET /${fixture.planted} HTTP/1.1`,
    'GET http://127.0.0.1/health/ready HTTP/1.1',
    'GET /health/ready HTTP/1.1',
    'G\0T / HTTP/1.1',
    'GET /%c0%ae%c0%ae/ HTTP/1.1',
  ]);
  const headers = random.list(6, () =>
    random.pick([
      'Host: 127.0.0.1',
      'Host: 127.0.0.1',
      'Host: evil.example',
      'Content-Length: 5',
      'Content-Length: -1',
      'Content-Length: 5, 6',
      'Transfer-Encoding: chunked',
      'Transfer-Encoding: chunked, identity',
      'Expect: 100-continue',
      'Upgrade: websocket',
      'Connection: upgrade',
      ' folded: header',
      'No-Colon',
      ': empty',
      `X: ${fixture.planted}`,
      'Connection: close',
      `Authorization: Bearer ${fixture.apiKey}`,
    ]),
  );
  const head = Buffer.from([line, ...headers, '', ''].join('\r\n'), 'latin1');
  return { kind: 'hardly HTTP', isWhole: false, bytes: Buffer.concat([head, random.bytes(60)]) };
}
