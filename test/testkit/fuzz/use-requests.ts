import { disguises } from '../path-disguises.ts';
import { encode, type HostileRequest, http } from './http.ts';
import type { Random } from './random.ts';
import { corrupt, type Fixture, json, text, token, url } from './values.ts';

const root = '/api/v1/app-connections/okta';

const paths = [
  ...['/api/v1/users', '/api/v1/users/me', '/api/v1/groups', '/api/v1/logs', '/api/v1/org'],
  ...['/oauth2/v1/token', '/api/v1/apps/0oa1/credentials/secrets', '/.well-known/okta-organization'],
];

/** A request through a connection, to the proxy or as a typed read, or one about a service app. */
export function useConnection(random: Random, fixture: Fixture): HostileRequest {
  return random.pick([proxy, proxy, typedRead, serviceApp])(random, fixture);
}

/** The path, the query and the headers are hostile, and so is what stands in place of credentials. */
function proxy(random: Random, fixture: Fixture): HostileRequest {
  const { planted, apiKey } = fixture;
  const path = random.pick(paths);
  const disguised = random.isTrue(0.5) ? path : toTarget(random.pick(disguises(path)));
  const hostile = encodeURIComponent(text(random, fixture).toWellFormed());
  const query = random.pick([
    '',
    '?limit=1',
    `?search=${hostile}`,
    `?after=${planted}`,
    '?limit=1&limit=2',
    '?%',
  ]);
  const method = random.pick([
    'GET',
    'GET',
    'GET',
    'HEAD',
    'POST',
    'PUT',
    'PATCH',
    'DELETE',
    'OPTIONS',
    'QUERY',
  ]);
  const body = method === 'GET' ? undefined : encode(random, fixture, json(random, fixture));
  const headers = random.list(4, () =>
    random.pick<() => [string, string]>([
      () => ['Authorization', `SSWS ${apiKey}`],
      () => ['Cookie', `sid=${planted}`],
      () => ['X-Forwarded-Host', planted],
      () => ['Proxy-Authorization', planted],
      () => ['Connection', 'authorization, x-request-id'],
      () => ['Prefer', random.pick(['wait=1', 'wait=-1', 'wait=1e9', 'wait=x', 'respond-async'])],
      () => ['DPoP', planted],
      () => ['Range', 'bytes=0-'],
      () => ['If-None-Match', '*'],
      () => ['Expect', '100-continue'],
      () => ['Transfer-Encoding', 'chunked'],
      () => ['TE', 'trailers'],
      () => ['X-Http-Method-Override', 'DELETE'],
      () => ['Accept-Encoding', random.pick(['gzip', 'br', 'identity;q=0', 'x'])],
    ])(),
  );
  const target = `${root}/${random.pick(fixture.ids)}/proxy${disguised}${query}`;
  return { kind: 'proxy', ...http(random, fixture, method, target, body, headers) };
}

/** Escapes what cannot be in the first line of a request. */
function toTarget(path: string): string {
  return path.replaceAll(/[^\x21-\x7e]/gu, (character) => encodeURIComponent(character.toWellFormed()));
}

const page = 'pageInfo { endCursor hasNextPage }';
const reads = [
  `oktaUsers(connectionId: $id, search: $text, after: $after, first: $first) { nodes { id groups { nodes { id } } } ${page} }`,
  `oktaUsers(connectionId: $id, filter: $text) { nodes { id status } }`,
  'oktaUser(connectionId: $id, idOrLogin: $text) { id status }',
  `oktaGroups(connectionId: $id, search: $text, first: $first) { nodes { id members { nodes { id } } } ${page} }`,
  'oktaApplications(connectionId: $id, first: $first, after: $after) { nodes { id } }',
  'oktaLogEvents(connectionId: $id, filter: $text) { nodes { __typename } }',
  'oktaOrganisation(connectionId: $id) { id }',
  'oktaResponse(connectionId: $id, path: $text) { status body }',
];

function typedRead(random: Random, fixture: Fixture): HostileRequest {
  const written = random.list(3, () => `r${random.below(1_000)}: ${random.pick(reads)}`).join(' ');
  const declared = { id: 'UUID!', text: 'String!', after: 'String', first: 'Int! = 20' };
  const used = Object.entries(declared).filter(([name]) => written.includes(`$${name}`));
  const query = `query (${used.map(([name, type]) => `$${name}: ${type}`).join(', ')}) { ${written} }`;
  const variables = {
    id: random.pick(fixture.ids),
    text: random.isTrue(0.3) ? random.pick(paths) : text(random, fixture),
    ...(random.isTrue(0.3) && { after: text(random, fixture) }),
    ...(random.isTrue(0.3) && { first: random.pick([0, 1, 200, -1, 2 ** 31]) }),
  };
  const body = encode(random, fixture, { query: query.replace('query () ', ''), variables });
  return { kind: 'typed read', ...http(random, fixture, 'POST', '/graphql', body) };
}

function serviceApp(random: Random, fixture: Fixture): HostileRequest {
  const { planted, ids } = fixture;
  const pem = '-----BEGIN PRIVATE KEY-----';
  const privateKey = () =>
    random.pick<unknown>([
      token(random, fixture),
      `${pem}\n${planted}\n-----END PRIVATE KEY-----`,
      corrupt(random, fixture, pem.repeat(3)),
      JSON.stringify({ kty: 'RSA', d: planted, n: planted, e: 'AQAB' }),
      JSON.stringify({ kty: 'EC', crv: 'P-256', x: planted, y: planted, d: planted }),
      `${'['.repeat(2_000)}`,
      json(random, fixture, 1),
    ]);
  const credentials = {
    instanceUrl: url(random, fixture),
    clientId: random.isTrue(0.7) ? '0oa1ab2cd3EF4GH5i0d7' : text(random, fixture),
    scopes: random.isTrue(0.7) ? ['okta.users.read'] : json(random, fixture, 2),
    ...(random.isTrue(0.5) && { privateKey: privateKey() }),
    ...(random.isTrue(0.2) && { keyId: text(random, fixture) }),
  };
  const name = `fuzz-${random.below(1_000)}`;
  const id = random.pick(ids);
  const [method, path, body] = random.pick<[string, string, unknown?]>([
    ['POST', root, { name, method: 'service-app', credentials }],
    ['POST', root, { name, method: 'service-app', credentials, onUnreachable: 'SAVE_UNVERIFIED' }],
    ['POST', `${root}/validate`, { method: 'service-app', credentials }],
    ['PATCH', `${root}/${id}`, { credentials }],
    ['POST', `${root}/${id}/convert`, { to: credentials }],
    ['DELETE', `${root}/${id}/conversion`],
    ['POST', `${root}/${id}/rotate-key`],
    ['POST', `${root}/${id}/verify`],
    ['POST', `${root}/${id}/setup-links`, { expiresIn: random.pick([300, 0, 'x']) }],
    [
      'GET',
      `/.well-known/app-connections/${encodeURIComponent(text(random, fixture).toWellFormed())}/jwks.json`,
    ],
  ]);
  const bytes = body === undefined ? undefined : encode(random, fixture, body);
  return { kind: 'service app', ...http(random, fixture, method, path, bytes) };
}
