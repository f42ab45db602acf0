import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import type { Scope } from '../src/identity/caller.ts';
import { type Behaviour, startOkta, type TestOkta } from './testkit/okta.ts';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { at, createConnectionOverRest, restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer, type WireError } from './testkit/server.ts';

const token = '00QCjAl4MlV-WPXM_A5B6C7D8E9F0GhIjKlMnOpQrS';
const requestId = 'aPBIVl_a-Xrm_Tq-OWMq4gAAABc';
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
    config: { trustedInstanceHosts: new Set([okta.hostPort, host.hostPort]) },
  });
  organisation = await server.newOrganisation();
  connectionId = await createConnection(okta.origin);
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
async function createConnection(instanceUrl: string): Promise<string> {
  connections += 1;
  const { id } = await createConnectionOverRest(restClient(server.url, organisation.apiKey), {
    name: `connection-${connections}`,
    credentials: { instanceUrl, apiToken: token },
  });
  return id;
}

/** Lets the host behave in one way, and returns a new connection to it. */
async function connectTo(behaviour: Behaviour): Promise<string> {
  host.behave(handleFakeOkta);
  const id = await createConnection(host.origin);
  host.behave(behaviour);
  return id;
}

/** Lets the host answer every request with this JSON. */
const connectToJson = (json: unknown, { status = 200, headers = {} } = {}) =>
  connectTo((_, response) => {
    response.writeHead(status, {
      'content-type': 'application/json',
      'x-okta-request-id': requestId,
      ...headers,
    });
    response.end(typeof json === 'string' ? json : JSON.stringify(json));
  });

interface Answer {
  status: number;
  data: unknown;
  errors: WireError[];
  text: string;
}

const variableTypes = { $id: 'UUID!', $other: 'UUID!', $after: 'String', $first: 'Int! = 20' };

/** Sends a query. By default, `$id` is the connection to the stand-in. */
async function ask(
  query: string,
  { variables = {}, apiKey = organisation.apiKey }: { variables?: object; apiKey?: string } = {},
): Promise<Answer> {
  const declared = Object.entries(variableTypes).filter(([name]) => query.includes(name));
  const declarations = declared.map(([name, type]) => `${name}: ${type}`);
  const { status, text } = await restClient(server.url, apiKey)('POST', '/graphql', {
    query: `query ${declarations.length > 0 ? `(${declarations})` : ''} { ${query} }`,
    variables: { id: connectionId, ...variables },
  });
  const { data, errors = [] } = JSON.parse(text);
  return { status, data, errors, text };
}

async function read(query: string, variables: object = {}): Promise<unknown> {
  const { data, errors } = await ask(query, { variables });
  expect(errors).toEqual([]);
  return data;
}

const journal = async () => (await okta.takeJournal()).map(({ method, url }) => `${method} ${url}`);
const userId = (index: number) => `00u${String(index).padStart(17, '0')}`;
const group0 = '00g00000000000000000';

describe('a read of Okta', () => {
  it('returns the members that are asked for, and null for those that Okta leaves out', async () => {
    expect(
      await read(`oktaUser(connectionId: $id, idOrLogin: "user7@example.com") {
        __typename id status created lastLogin profile { login firstName mobilePhone }
      }`),
    ).toEqual({
      oktaUser: {
        __typename: 'OktaUser',
        id: userId(7),
        status: 'ACTIVE',
        created: '2026-01-01T00:00:07.000Z',
        lastLogin: null,
        profile: { login: 'user7@example.com', firstName: 'User', mobilePhone: null },
      },
    });
    const [request, ...others] = await okta.takeJournal();
    expect(others).toEqual([]);
    expect(request).toMatchObject({ method: 'GET', url: '/api/v1/users/user7@example.com', body: '' });
    expect(request?.headers).toEqual(expect.arrayContaining(['accept', 'application/json', `SSWS ${token}`]));
  });

  it('returns an object of which only the type, or nothing, is asked for', async () => {
    const id = await connectToJson([{ uuid: 'x', target: [{ id: 'a' }, {}], client: { userAgent: {} } }]);
    const fragment = '} fragment Empty on OktaLogEvent { outcome { reason } client { zone @skip(if: true) } ';
    expect(
      await read(
        `oktaLogEvents(connectionId: $id) {
          nodes { target { __typename } client { userAgent { __typename } } ...Empty }
          edges { node { actor { __typename } } }
        } ${fragment}`,
        { id },
      ),
    ).toEqual({
      oktaLogEvents: {
        nodes: [
          {
            target: [{ __typename: 'OktaLogEventTarget' }, { __typename: 'OktaLogEventTarget' }],
            client: { userAgent: { __typename: 'OktaLogEventClientUserAgent' } },
            outcome: null,
          },
        ],
        edges: [{ node: { actor: null } }],
      },
    });
    expect(
      await read(`oktaUser(connectionId: $id, idOrLogin: "user7@example.com") {
        profile { login @include(if: false) }
      }`),
    ).toEqual({ oktaUser: { profile: {} } });
  });

  it('returns null for an object that Okta does not have', async () => {
    const gone = '00u99999999999999999';
    expect(
      await read(`oktaUser(connectionId: $id, idOrLogin: "${gone}") { id }
        oktaGroup(connectionId: $id, id: "${gone}") { id }
        oktaApplication(connectionId: $id, id: "${gone}") { id }`),
    ).toEqual({ oktaUser: null, oktaGroup: null, oktaApplication: null });
  });

  it('sends search and filter expressions, times and orders as they were given', async () => {
    const search = 'profile.department eq "R&D" and profile.city sw "Zürich +"';
    await read(
      `oktaUsers(connectionId: $id, search: ${JSON.stringify(search)}, first: 3) { nodes { id } }
       oktaGroups(connectionId: $id, filter: "type eq \\"OKTA_GROUP\\"") { nodes { id } }
       oktaApplications(connectionId: $id, q: "a b", first: 200) { nodes { id } }
       oktaLogEvents(connectionId: $id, since: "2026-01-01T00:00:00.000Z", until: "2026-01-02T00:00:00+01:00",
         q: "x", sortOrder: DESCENDING, first: 1) { nodes { uuid } }`,
    );
    const requests = (await okta.takeJournal()).map(({ url }) => new URL(url, okta.origin));
    const received = requests.map(({ pathname, searchParams }) => [
      pathname,
      Object.fromEntries(searchParams),
    ]);
    expect(received).toEqual(
      expect.arrayContaining([
        ['/api/v1/users', { search, limit: '3' }],
        ['/api/v1/groups', { filter: 'type eq "OKTA_GROUP"', limit: '20' }],
        ['/api/v1/apps', { q: 'a b', limit: '200' }],
        [
          '/api/v1/logs',
          {
            since: '2026-01-01T00:00:00.000Z',
            until: '2026-01-01T23:00:00.000Z',
            q: 'x',
            sortOrder: 'DESCENDING',
            limit: '1',
          },
        ],
      ]),
    );
  });

  it('reads groups with their members, users with their groups, and applications with what is assigned', async () => {
    const data = await read(`
      oktaGroup(connectionId: $id, id: "${group0}") {
        profile { name } members(first: 2) { nodes { id groups(first: 1) { nodes { profile { name } } } } }
      }
      oktaApplications(connectionId: $id, first: 1) {
        nodes {
          label
          assignedUsers(first: 2) { nodes { scope user { profile { login } } } }
          assignedGroups(first: 1) { nodes { priority group { profile { name } } } }
        }
      }`);
    const groups = { nodes: [{ profile: { name: 'Group 0' } }] };
    expect(data).toEqual({
      oktaGroup: {
        profile: { name: 'Group 0' },
        members: { nodes: [0, 1].map((index) => ({ id: userId(index), groups })) },
      },
      oktaApplications: {
        nodes: [
          {
            label: 'Application 0',
            assignedUsers: {
              nodes: [0, 1].map((index) => ({
                scope: 'USER',
                user: { profile: { login: `user${index}@example.com` } },
              })),
            },
            assignedGroups: { nodes: [{ priority: 0, group: { profile: { name: 'Group 0' } } }] },
          },
        ],
      },
    });
    expect(await journal()).toEqual(
      expect.arrayContaining([
        `GET /api/v1/users/${userId(1)}/groups`,
        // Okta takes no shorter page.
        'GET /api/v1/apps/0oa00000000000000000/groups?limit=20',
      ]),
    );
  });

  it.each([
    '../groups',
    '..',
    '.',
    'a/b',
    '%2e%2e%2fgroups',
    'a\\b',
    'a;b',
    'a?b',
    'a#b',
    ' a',
    '',
    '／etc',
    'a\u0000b',
    'x'.repeat(101),
  ])('never leaves its path for a login that is not one, and sends nothing: %j', async (idOrLogin) => {
    const { data, errors } = await ask(
      `oktaUser(connectionId: $id, idOrLogin: ${JSON.stringify(idOrLogin)}) { id }`,
    );
    expect(data).toEqual({ oktaUser: null });
    const [error] = errors;
    expect(error?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path: ['idOrLogin'] }] });
    if (idOrLogin.length > 3) expect(JSON.stringify(error)).not.toContain(idOrLogin);
    expect(await journal()).toEqual([]);
  });

  it('finds logins with characters that have a meaning in URLs', async () => {
    await read(`oktaUser(connectionId: $id, idOrLogin: "a+b&c=d e'é@example.com") { id }`);
    const [request = ''] = await journal();
    expect(decodeURIComponent(request)).toBe("GET /api/v1/users/a+b&c=d e'é@example.com");
  });

  it('needs the scope connections:use, a connection that the caller may see, and its use policy', async () => {
    const query = 'oktaUsers(connectionId: $id) { nodes { id } }';
    const scopes: Scope[] = ['connections:read', 'connections:write', 'connections:verify'];
    const withoutUse = await ask(query, { apiKey: await organisation.newKey(scopes) });
    const limits = { connectionIds: ['7ffbb072-2575-495a-b5b0-127f88caef78'] };
    const limited = await ask(query, { apiKey: await organisation.newKey(['connections:use'], limits) });
    const stranger = await ask(query, { apiKey: (await server.newOrganisation()).apiKey });
    const logsOnly = await createConnection(okta.origin);
    await restClient(server.url, organisation.apiKey)(
      'PUT',
      `/api/v1/app-connections/okta/${logsOnly}/use-policy`,
      { preset: 'LOGS_READ' },
    );
    await okta.takeJournal();
    const denied = await ask(query, { variables: { id: logsOnly } });
    const codes = [withoutUse, limited, stranger, denied].map(({ errors }) => errors[0]?.extensions.code);
    expect(codes).toEqual(['FORBIDDEN', 'NOT_FOUND', 'NOT_FOUND', 'USE_DENIED']);
    expect(await journal()).toEqual([]);
  });
});

describe('pages of a read', () => {
  interface Users {
    oktaUsers: {
      nodes: { id: string }[];
      edges: { cursor: string; node: { id: string } }[];
      pageInfo: Record<string, unknown> & { endCursor: string | null; hasNextPage: boolean };
    };
  }
  const page = `oktaUsers(connectionId: $id, first: $first, after: $after) {
    nodes { id } edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }`;
  const readUsers = async (variables: object) => ((await read(page, variables)) as Users).oktaUsers;
  const all = Array.from({ length: 250 }, (_, index) => userId(index));

  it('have every object once, in the order of the app', async () => {
    const ids: string[] = [];
    for (let after: string | null = null; ; ) {
      const { nodes, edges, pageInfo } = await readUsers({ first: 100, after });
      ids.push(...nodes.map(({ id }) => id));
      expect(edges.map(({ node }) => node)).toEqual(nodes);
      expect(pageInfo).toMatchObject({
        hasPreviousPage: after !== null,
        startCursor: edges[0]?.cursor,
        endCursor: edges.at(-1)?.cursor,
      });
      after = pageInfo.endCursor;
      if (!pageInfo.hasNextPage) break;
    }
    expect(ids).toEqual(all);
    expect(await journal()).toEqual([
      'GET /api/v1/users?limit=100',
      'GET /api/v1/users?limit=100&after=100',
      'GET /api/v1/users?limit=100&after=200',
    ]);
  });

  it('continue after any object, with another size too', async () => {
    const { edges } = await readUsers({ first: 10 });
    const ids = edges.slice(0, 4).map(({ node }) => node.id);
    for (let after = edges[3]?.cursor; ids.length < 20; ) {
      const { nodes, pageInfo } = await readUsers({ first: 3, after });
      ids.push(...nodes.map(({ id }) => id));
      after = pageInfo.endCursor ?? '';
    }
    expect(ids).toEqual(all.slice(0, ids.length));
    expect(await readUsers({ first: 200, after: edges.at(-1)?.cursor })).toMatchObject({
      nodes: all.slice(10, 20).map((id) => ({ id })),
    });
  });

  it('end after the last object, whose cursor leads to an empty page', async () => {
    const { pageInfo } = await readUsers({ first: 200 });
    const last = await readUsers({ first: 200, after: pageInfo.endCursor });
    expect([last.nodes.length, last.pageInfo.hasNextPage]).toEqual([50, false]);
    expect(await readUsers({ first: 200, after: last.pageInfo.endCursor })).toMatchObject({
      nodes: [],
      pageInfo: { hasNextPage: false, startCursor: null, endCursor: null },
    });
  });

  it('have at most 200 objects, and refuse other sizes before anything is sent', async () => {
    for (const first of [0, -1, 201]) {
      const { errors } = await ask(page, { variables: { first } });
      expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path: ['first'] }] });
    }
    expect(await journal()).toEqual([]);
  });

  it('refuse a cursor of another connection, list or search, and one that was changed', async () => {
    const other = await createConnection(okta.origin);
    const { pageInfo } = await readUsers({ first: 2 });
    const after = pageInfo.endCursor ?? '';
    const forged = JSON.parse(Buffer.from(after, 'base64url').toString());
    forged[1] = '/api/v1/apps/x/credentials/secrets';
    await okta.takeJournal();
    const attempts = [
      [page, { id: other, after }],
      ['oktaGroups(connectionId: $id, after: $after) { nodes { id } }', { after }],
      [
        `oktaGroup(connectionId: $id, id: "${group0}") { members(after: $after) { nodes { id } } }`,
        { after },
      ],
      ['oktaUsers(connectionId: $id, after: $after, search: "x") { nodes { id } }', { after }],
      [page, { after: Buffer.from(JSON.stringify(forged)).toString('base64url') }],
      [page, { after: 'nonsense' }],
      [page, { after: '' }],
    ] as const;
    for (const [query, variables] of attempts) {
      const { errors } = await ask(query, { variables });
      expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path: ['after'] }] });
    }
    expect(await journal()).toEqual([`GET /api/v1/groups/${group0}`]);
  });

  it.each([
    '</api/v1/users?after=2>; title="a, b"; rel="next"',
    '</api/v1/users?after=2>; rel = "self Next"',
    '<?after=2>;rel=next',
    '</api/v1/users?after=1>; title="; rel=next"; rel="self", <../v1/users?after=2>; rel="next"',
  ])('go on after any form of a link: %s', async (link) => {
    const urls: string[] = [];
    const id = await connectTo((request, response) => {
      urls.push(request.url ?? '');
      response.writeHead(200, { 'content-type': 'application/json', ...(urls.length === 1 && { link }) });
      response.end('[{}]');
    });
    const query = 'oktaUsers(connectionId: $id, after: $after) { pageInfo { hasNextPage endCursor } }';
    const first = at(await read(query, { id }), 'oktaUsers', 'pageInfo');
    expect(first).toMatchObject({ hasNextPage: true });
    expect(await read(query, { id, after: at(first, 'endCursor') })).toMatchObject({
      oktaUsers: { pageInfo: { hasNextPage: false } },
    });
    expect(urls).toEqual(['/api/v1/users?limit=20', '/api/v1/users?after=2']);
  });

  it.each([
    '</api/v1/users?after=2>; rel="next-archive"',
    '</api/v1/users?after=2>; rel="prev"; title="rel=next"',
    '</api/v1/users?rel=next>; rel="self"',
  ])('end with a link to something else: %s', async (link) => {
    const id = await connectToJson([{}], { headers: { link } });
    expect(await read('oktaUsers(connectionId: $id) { pageInfo { hasNextPage } }', { id })).toEqual({
      oktaUsers: { pageInfo: { hasNextPage: false } },
    });
  });

  it('of the System Log end where its next page is itself, and go on when there are new events', async () => {
    const events = ['1', '2', '3'];
    const id = await connectTo((request, response) => {
      const url = new URL(request.url ?? '', host.origin);
      const after = Number(url.searchParams.get('after') ?? 0);
      const shown = events.slice(after, after + 2);
      url.searchParams.set('after', String(after + shown.length));
      response.writeHead(200, { 'content-type': 'application/json', link: `<${url}>; rel="next"` });
      response.end(JSON.stringify(shown.map((uuid) => ({ uuid }))));
    });
    const log = `oktaLogEvents(connectionId: $id, first: 2, after: $after) {
      nodes { uuid } pageInfo { hasNextPage endCursor }
    }`;
    const pages: [string, boolean][] = [];
    let after: string | null = null;
    const readNext = async () => {
      const data = await read(log, { id, after });
      const { nodes, pageInfo } = at(data, 'oktaLogEvents') as {
        nodes: { uuid: string }[];
        pageInfo: { hasNextPage: boolean; endCursor: string };
      };
      pages.push([nodes.map(({ uuid }) => uuid).join(), pageInfo.hasNextPage]);
      after = pageInfo.endCursor;
      return pageInfo.hasNextPage;
    };
    while (await readNext());
    events.push('4');
    await readNext();
    expect(pages).toEqual([
      ['1,2', true],
      ['3', true],
      ['', false],
      ['4', true],
    ]);
  });
});

describe('the requests of a document', () => {
  it('are sent once for an object that is asked for several times', async () => {
    const user = `oktaUser(connectionId: $id, idOrLogin: "${userId(3)}")`;
    const data = await read(`
      a: ${user} { id profile { firstName } }
      b: ${user} { status profile { login } groups { nodes { id } } }
      oktaGroup(connectionId: $id, id: "${group0}") { members(first: 4) { nodes { groups { nodes { id } } } } }`);
    expect(data).toMatchObject({
      a: { id: userId(3), profile: { firstName: 'User' } },
      b: { status: 'ACTIVE', profile: { login: 'user3@example.com' } },
    });
    const requests = await journal();
    expect(requests).toHaveLength(new Set(requests).size);
    expect(requests).toHaveLength(7);
  });

  it('are at most 8 at a time', async () => {
    const held: (() => void)[] = [];
    let most = 0;
    let isHolding = false;
    const id = await connectTo((request, response) => {
      if (!isHolding || !request.url?.includes('/users')) {
        handleFakeOkta(request, response);
        return;
      }
      held.push(() => handleFakeOkta(request, response));
      most = Math.max(most, held.length);
    });
    const groups = Array.from(
      { length: 15 },
      (_, index) => `g${index}: oktaUser(
      connectionId: $id, idOrLogin: "user${index}") { id }`,
    );
    // The server learns the rate limit, within which it sends the others.
    await read(
      'oktaUser(connectionId: $id, idOrLogin: "me") { id } oktaUsers(connectionId: $id) { nodes { id } }',
      { id },
    );
    await read('oktaUser(connectionId: $id, idOrLogin: "00ub0oNGTSWTBKOLGLNR") { id }', { id });
    isHolding = true;
    const reading = ask(groups.join('\n'), { variables: { id } });
    await expect.poll(() => held.length).toBe(8);
    // Another request through the same connection, sent later, arrives: so would have a ninth one.
    await read('oktaGroups(connectionId: $id) { nodes { id } }', { id });
    expect(held).toHaveLength(8);
    const release = async () => {
      while (held.length > 0) held.shift()?.();
      await nextTurn();
    };
    const releasing = setInterval(release, 5);
    const { errors } = await reading.finally(() => clearInterval(releasing));
    expect(errors).toEqual([]);
    expect(most).toBe(8);
  });

  it.each([
    ['oktaGroups(connectionId: $id, first: 25) { nodes { members { nodes { id } } } }', 26],
    ['oktaGroups(connectionId: $id, first: $first) { nodes { members { nodes { id } } } }', 31],
    [
      'oktaGroups(connectionId: $id) { edges { node { members(first: 1) { nodes { groups { nodes { id } } } } } } }',
      41,
    ],
    [
      'oktaGroups(connectionId: $id) { ...F } } fragment F on OktaGroupPage { nodes { a: members { nodes { id } } b: members { nodes { id } } }',
      41,
    ],
  ])('are counted before anything is sent, and more than 25 are refused: %s', async (query, requests) => {
    const { status, errors } = await ask(query, { variables: { first: 30 } });
    expect(status).toBe(200);
    expect(errors).toHaveLength(1);
    expect(errors[0]?.message).toContain(`can cause ${requests} requests to apps, and 25 are allowed`);
    expect(errors[0]?.extensions.code).toBe('BAD_USER_INPUT');
    expect(await journal()).toEqual([]);
  });

  it('can be 25', async () => {
    await read(
      'oktaGroups(connectionId: $id, first: $first) { nodes { members(first: 1) { nodes { id } } } }',
      {
        first: 24,
      },
    );
    expect(await journal()).toHaveLength(25);
  });
});

describe('a read that fails', () => {
  it('is null with an error at its field, beside the others', async () => {
    const down = await connectTo((request) => request.socket.destroy());
    const { status, data, errors } = await ask(
      `down: oktaUsers(connectionId: $other) { nodes { id } }
       up: oktaUser(connectionId: $id, idOrLogin: "user1@example.com") { id }
       appConnection(id: $id) { name }`,
      { variables: { other: down } },
    );
    expect([status, data]).toEqual([
      200,
      { down: null, up: { id: userId(1) }, appConnection: { name: 'connection-1' } },
    ]);
    expect(errors).toMatchObject([{ path: ['down'], extensions: { code: 'UPSTREAM_UNREACHABLE' } }]);
  });

  it('of one list leaves the other objects of its parent', async () => {
    const id = await connectTo((request, response) => {
      if (!request.url?.includes('00g1emaKYZTWRYYRRTSK/users')) handleFakeOkta(request, response);
      else response.writeHead(503).end();
    });
    const { data, errors } = await ask(
      'oktaGroups(connectionId: $id) { nodes { profile { name } members { nodes { id } } } }',
      { variables: { id } },
    );
    expect(data).toMatchObject({
      oktaGroups: {
        nodes: [
          { profile: { name: 'Everyone' }, members: { nodes: [{}, {}, {}] } },
          { profile: { name: 'Engineering' }, members: null },
        ],
      },
    });
    expect(errors).toMatchObject([
      { path: ['oktaGroups', 'nodes', 1, 'members'], extensions: { code: 'UPSTREAM_UNREACHABLE' } },
    ]);
  });

  const oktaError = (errorCode: string) => ({ errorCode, errorSummary: 'The summary', errorCauses: [] });
  it.each([
    [400, oktaError('E0000031'), 'BAD_USER_INPUT', /E0000031/, /expressions/],
    [401, oktaError('E0000004'), 'CREDENTIALS_REJECTED', /E0000004/, /Verify the connection/],
    [403, oktaError('E0000006'), 'INSUFFICIENT_PERMISSIONS', /E0000006/, /role/],
    [404, oktaError('E0000007'), 'NOT_FOUND', /E0000007/, /again/],
    [429, oktaError('E0000047'), 'UPSTREAM_RATE_LIMITED', /too many requests/, /Try again/],
    [500, oktaError('E0000009'), 'UPSTREAM_UNREACHABLE', /E0000009, status 500/, /later/],
    [502, '<html>', 'UPSTREAM_UNREACHABLE', /status 502/, /later/],
    [403, '<html>', 'UPSTREAM_INVALID_RESPONSE', /status 403/, /proxy/],
    [404, {}, 'UPSTREAM_INVALID_RESPONSE', /status 404/, /proxy/],
    [302, '', 'UPSTREAM_INVALID_RESPONSE', /status 302/, /proxy/],
  ])('with status %i and %o has the code %s and a remedy', async (status, body, code, message, remedy) => {
    const id = await connectToJson(body, { status });
    const { data, errors } = await ask('oktaUsers(connectionId: $id) { nodes { id } }', {
      variables: { id },
    });
    expect(data).toEqual({ oktaUsers: null });
    expect(errors).toMatchObject([
      {
        message: expect.stringMatching(message),
        extensions: { code, remedy: expect.stringMatching(remedy), upstreamRequestId: requestId },
      },
    ]);
    expect(JSON.stringify(errors)).not.toMatch(/The summary|html/);
  });

  it('because of a rate limit says when it ends', async () => {
    const reset = Math.ceil(Date.now() / 1_000) + 30;
    const headers = {
      'x-rate-limit-limit': '600',
      'x-rate-limit-remaining': '0',
      'x-rate-limit-reset': String(reset),
    };
    const id = await connectToJson(oktaError('E0000047'), { status: 429, headers });
    const { errors } = await ask('oktaUsers(connectionId: $id) { nodes { id } }', { variables: { id } });
    expect(errors[0]?.extensions).toMatchObject({ code: 'UPSTREAM_RATE_LIMITED' });
    expect(errors[0]?.extensions.retryAt).toBe(new Date(reset * 1_000).toISOString());
  });

  const manyMembers = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`member${index}`, 1]));
  const good = { id: userId(1), status: 'ACTIVE', created: '2026-01-01T00:00:00.000Z', profile: {} };
  it.each([
    ['a member of another type', [good, { ...good, status: 5 }], 'status of object 1'],
    ['a member of another format', [{ ...good, created: 'yesterday' }], 'created of object 0'],
    [
      'a time after the year 9999',
      [{ ...good, created: '9999-12-31T23:59:59-12:00' }],
      'created of object 0',
    ],
    ['a time before the year 1', [{ ...good, created: '0000-06-01T00:00:00Z' }], 'created of object 0'],
    ['a missing id', [{ ...good, id: undefined }], 'id of object 0'],
    ['an id that is a path', [{ ...good, id: '../../x' }], 'id of object 0'],
    ['a text in place of an object', [{ ...good, profile: 'x' }], 'profile of object 0'],
    ['something else than an object', [null], 'it of object 0'],
    ['an object in place of a list', good, 'it is not a list'],
    ['text in place of JSON', 'hello', 'it is not JSON'],
    ['JSON that is nested too deeply', '['.repeat(50) + ']'.repeat(50), 'nested too deeply'],
    ['an object with 10,001 members', [manyMembers(10_001)], 'has too many members'],
    ['a list with 200,001 brackets and commas', Array.from({ length: 67_000 }, () => []), 'too many members'],
    ['a body of more than 1 MiB', [{ ...good, status: 'x'.repeat(1024 * 1024) }], 'more than 1048576 bytes'],
  ])('because of %s names it, with the request id of Okta', async (_, body, clause) => {
    const id = await connectToJson(body);
    const { data, errors } = await ask(
      'oktaUsers(connectionId: $id) { nodes { id status created profile { login } } }',
      { variables: { id } },
    );
    expect(data).toEqual({ oktaUsers: null });
    expect(errors).toHaveLength(1);
    expect(errors[0]?.message).toContain(clause);
    expect(errors[0]?.message).toContain(requestId);
    expect(errors[0]?.message).not.toMatch(/yesterday|hello|\.\.\//);
    expect(errors[0]?.extensions.code).toBe('UPSTREAM_INVALID_RESPONSE');
  });

  it('because of a member is one only if the member is asked for', async () => {
    const id = await connectToJson([{ ...good, status: 5, created: 'yesterday', profile: [] }]);
    expect(await read('oktaUsers(connectionId: $id) { nodes { id } }', { id })).toEqual({
      oktaUsers: { nodes: [{ id: userId(1) }] },
    });
  });

  it('because the next page is at another host does not seem to be the end of the list', async () => {
    const link = '<https://evil.example/api/v1/users?after=1>; rel="next"';
    const id = await connectToJson([good], { headers: { link } });
    const { errors } = await ask('oktaUsers(connectionId: $id) { nodes { id } }', { variables: { id } });
    expect(errors[0]?.message).toContain('leads to another host');
  });

  it.each([
    ['a query that is too long', `/api/v1/users?after=${'a'.repeat(8_192)}`],
    ['a path that is too long', `/api/v1/users/${'a'.repeat(2_048)}`],
    ['an empty segment', '/api/v1//users'],
    ['an encoded slash', '/api/v1/%2fusers'],
    ['a matrix parameter', '/api/v1/users;a=b'],
  ])('because the link to the next page has %s does not blame the caller', async (_, target) => {
    const id = await connectToJson([good], { headers: { link: `<${target}>; rel="next"` } });
    const { errors } = await ask('oktaUsers(connectionId: $id) { nodes { id } }', { variables: { id } });
    expect(errors[0]?.extensions.code).toBe('UPSTREAM_INVALID_RESPONSE');
    expect(errors[0]?.message).toContain('its link to the next page');
  });

  it('does not come from the longest link to a next page', async () => {
    const target = `/api/v1/users?${'\\'.repeat(8_191)}`;
    const id = await connectToJson([good], { headers: { link: `<${target}>; rel="next"` } });
    const page = 'oktaUsers(connectionId: $id, after: $after) { pageInfo { endCursor hasNextPage } }';
    const data = await read(page, { id });
    const after = at(data, 'oktaUsers', 'pageInfo', 'endCursor');
    expect(await read(page, { id, after })).toMatchObject({
      oktaUsers: { pageInfo: { hasNextPage: false } },
    });
    expect(host.requests.at(-1)?.path).toBe(target);
  });

  it('does not come from a long list', async () => {
    const profile = manyMembers(300);
    const list = Array.from({ length: 150 }, () => ({ ...good, profile }));
    const id = await connectToJson(list);
    expect(await read('oktaUsers(connectionId: $id, first: 200) { nodes { id } }', { id })).toEqual({
      oktaUsers: { nodes: list.map(() => ({ id: userId(1) })) },
    });
  });
});

it('a read never returns the token of the connection, also if Okta repeats it', async () => {
  const escaped = [...token]
    .map((character, index) =>
      index % 2 === 0 ? character : `\\u00${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
    )
    .join('');
  const echo = (text: string) =>
    `{ "id": "${userId(1)}", "status": "${text}", "profile": { "login": "x ${text} x" } }`;
  const url = `/api/v1/users?token=${token}`;
  const id = await connectToJson(`[${echo(token)}, ${echo(escaped)}]`, {
    headers: { link: `<${url}>; rel="next"`, 'x-okta-request-id': token },
  });
  const { text, errors } = await ask(
    `oktaUsers(connectionId: $id) { nodes { id status profile { login } } edges { cursor } pageInfo { endCursor } }`,
    { variables: { id } },
  );
  expect(errors).toEqual([]);
  expect(text).toContain('x **');
  const cursors = [...text.matchAll(/"(?:cursor|endCursor)":"([\w-]+)"/g)].map(([, cursor = '']) =>
    Buffer.from(cursor, 'base64url').toString(),
  );
  expect(cursors).toHaveLength(3);
  for (const shown of [text, ...cursors]) expect(shown.toLowerCase()).not.toContain(token.toLowerCase());
  expect(server.logs()).not.toContain(token);
  expect(await server.dump()).not.toContain(token);
});
