import { randomUUID } from 'node:crypto';
import { isObjectType } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createSchema } from '../src/app/schema.ts';
import { createApps } from '../src/apps/index.ts';
import { startOkta, withToken } from './testkit/okta.ts';
import {
  at,
  createCheckedClient,
  createConnectionOverRest,
  oktaBody,
  type RestClient,
  restClient,
} from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

const okta = '/api/v1/app-connections/okta';
const trusted = new Set<string>();

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ config: { trustedInstanceHosts: trusted } });
});
afterAll(() => server.close());

/** Creates an organisation, and a client that checks every response against the OpenAPI document. */
async function fresh(): Promise<TestOrganisation & { rest: RestClient }> {
  const organisation = await server.newOrganisation();
  return { ...organisation, rest: await createCheckedClient(server.url, organisation.apiKey) };
}

/** The operationId of the REST route for each GraphQL operation. */
const counterparts: Readonly<Record<string, readonly string[]>> = {
  'Query.appConnection': [
    'getOktaConnection',
    'getOktaConnectionVerification',
    'getOktaConnectionHealth',
    'getOktaConnectionUsePolicy',
    'getOktaConnectionUsage',
    'getOktaConnectionUsers',
  ],
  'Query.testUsePolicy': ['testOktaConnectionUsePolicy'],
  'Query.appConnectionByName': ['getOktaConnectionByName'],
  'Query.appConnections': ['listConnections', 'listOktaConnections', 'listAvailableOktaConnections'],
  'Query.appConnectionOptions': ['listOptions'],
  'Query.auditEvents': ['listAuditEvents'],
  'Query.apiKeys': ['listApiKeys'],
  'Query.projects': ['listProjects'],
  'Query.viewer': ['getViewer'],
  'Mutation.createOktaConnection': ['createOktaConnection'],
  'Mutation.updateOktaConnection': ['updateOktaConnection'],
  'Mutation.updateUsePolicy': ['updateOktaConnectionUsePolicy'],
  'Mutation.convertOktaConnection': ['convertOktaConnection'],
  'Mutation.cancelAppConnectionConversion': ['cancelOktaConnectionConversion'],
  'Mutation.verifyAppConnection': ['verifyOktaConnection'],
  'Mutation.rotateOktaConnectionKey': ['rotateOktaConnectionKey'],
  'Mutation.validateOktaCredentials': ['validateOktaCredentials'],
  'Mutation.deleteAppConnection': ['deleteOktaConnection'],
  'Mutation.restoreAppConnection': ['restoreOktaConnection'],
  'Mutation.createApiKey': ['createApiKey'],
  'Mutation.revokeApiKey': ['revokeApiKey'],
  'Query.connectionSetupLinks': ['listOktaConnectionSetupLinks'],
  'Mutation.createConnectionSetupLink': ['createOktaConnectionSetupLink'],
  'Mutation.revokeConnectionSetupLink': ['revokeOktaConnectionSetupLink'],
  ...Object.fromEntries(
    [
      ...['Query.webhookEndpoint', 'Query.webhookEndpoints', 'Query.webhookMessages'],
      ...['Mutation.createWebhookEndpoint', 'Mutation.updateWebhookEndpoint'],
      ...['Mutation.deleteWebhookEndpoint', 'Mutation.rotateWebhookSecret'],
      ...['Mutation.sendTestWebhook', 'Mutation.redeliverWebhooks'],
    ].map((field) => {
      const [, name = ''] = field.split('.');
      const isList = /^webhook.*s$/.test(name);
      const prefix = field.startsWith('Mutation') ? '' : isList ? 'list' : 'get';
      return [field, [prefix ? prefix + name.charAt(0).toUpperCase() + name.slice(1) : name]];
    }),
  ),
  'Mutation.createProject': ['createProject'],
  'Mutation.renameProject': ['renameProject'],
};

/** Fields that only one of the two APIs has, with the reason. */
const exceptions: Readonly<Record<string, string>> = {
  'Subscription.hostChanged': 'REST answers each request once; it has the audit trail to be polled.',
  'Subscription.appConnectionChanged': 'REST answers each request once; it has the audit trail to be polled.',
  ...Object.fromEntries(
    ['User', 'Users', 'Group', 'Groups', 'Application', 'Applications', 'LogEvents', 'Organisation'].map(
      (read) => [
        `Query.okta${read}`,
        'REST has the proxy: without types, these are requests to the app, whose responses the app describes.',
      ],
    ),
  ),
  'Query.oktaResponse': 'REST has the proxy, whose requests the app describes.',
  'Mutation.executeOktaRequest': 'REST has the proxy, whose requests the app describes.',
  ...Object.fromEntries(
    ['openSetup', 'checkSetup', 'submitSetup'].map((id) => [
      id,
      'What a setup link can do is apart from all that other callers can do.',
    ]),
  ),
  describeRoutes: 'GraphQL describes itself by introspection, which is no operation of its schema.',
};

test('REST and GraphQL have the same operations', async () => {
  const schema = createSchema(createApps({ trustedHosts: new Set() }));
  const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
  const fields = roots.flatMap((type) =>
    Object.keys(type?.getFields() ?? {}).map((field) => `${type?.name}.${field}`),
  );
  const { body } = await restClient(server.url)('GET', '/api/v1/openapi.json');
  const ids = Object.values(Object(at(body, 'paths'))).flatMap((path) =>
    Object.values(Object(path)).map((operation) => String(at(operation, 'operationId'))),
  );
  expect(fields.length).toBeGreaterThan(10);
  const known = [...Object.keys(counterparts), ...Object.values(counterparts).flat()];
  expect([...known, ...Object.keys(exceptions)].sort()).toEqual([...fields, ...ids].sort());
});

test.each([
  ['AuditEvent', 'components/schemas/AuditEvent', []],
  ['ApiKey', 'components/schemas/ApiKey', []],
  ['Project', 'components/schemas/Project', []],
  ['WebhookEndpoint', 'components/schemas/WebhookEndpoint', []],
  ['WebhookMessage', 'components/schemas/WebhookMessage', []],
  ['Viewer', 'components/schemas/Viewer', []],
  [
    'AppConnection',
    'components/schemas/OktaConnection',
    // The connection has the members of the documentation; these have routes of their own.
    ['verification', 'health', 'usePolicy', 'usage', 'usedBy', 'lastUsedAt', 'lastUsedBy'],
  ],
])('REST returns the same fields as GraphQL for %s', async (type, path, elsewhere) => {
  const schema = createSchema(createApps({ trustedHosts: new Set() }));
  const { body } = await restClient(server.url)('GET', '/api/v1/openapi.json');
  const found = at(body, ...path.split('/'), 'properties');
  const object = schema.getType(type);
  if (!isObjectType(object)) throw new Error(`The schema has no ${type}.`);
  expect([...Object.keys(Object(found)), ...elsewhere].sort()).toEqual(
    Object.keys(object.getFields()).sort(),
  );
});

describe('REST verification of a connection', () => {
  test('returns the same as GraphQL after each check', async () => {
    const dead = new Set<string>();
    await using upstream = await startOkta({
      handler: withToken((request, response) => {
        const token = request.headers.authorization?.replace('SSWS ', '') ?? '';
        response.setHeader('content-type', 'application/json');
        response.setHeader('x-okta-request-id', 'reqWQ5cLTcTQ-Wf2iYzQqT0kw');
        if (dead.has(token)) {
          response.writeHead(401).end('{"errorCode":"E0000011","errorSummary":"Invalid token provided"}');
        } else
          response.end(
            '{"id":"00u1ab2cd3EF4GH5i0d7","status":"ACTIVE","profile":{"login":"ada@example.com"}}',
          );
      }),
    });
    trusted.add(upstream.hostPort);
    const { client, rest } = await fresh();
    const token = 'a-token-that-dies';
    const credentials = { instanceUrl: upstream.origin, apiToken: token };
    const { id } = await createConnectionOverRest(rest, { credentials });
    const overGraphql = async () => {
      const { appConnection } = await client.request<{ appConnection: object }>(
        `query ($id: UUID!) { appConnection(id: $id) {
          verification {
            status code message remedy checkedAt lastVerifiedAt failingSince oktaRequestId
            details { ... on OktaApiTokenDetails {
              organisation { id name } clockDifferenceSeconds warnings { message remedy }
              owner { id login status isActive roles { type label } }
              apiTokens { id name created lastUpdated expiresAt network { connection include exclude } }
            } }
          }
          credentials { ... on OktaCredentials { tokenOwner { id login status } } }
        } }`,
        { id },
      );
      return {
        ...Object(at(appConnection, 'verification')),
        tokenOwner: at(appConnection, 'credentials', 'tokenOwner'),
      };
    };
    const shown = async () => (await rest('GET', `${okta}/${id}/verification`)).body;
    expect(await shown()).toEqual({ verification: await overGraphql() });
    expect(await shown()).toMatchObject({ verification: { status: 'VERIFIED', failingSince: null } });

    dead.add(token);
    const { status, body } = await rest('POST', `${okta}/${id}/verify`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      verification: {
        status: 'REJECTED',
        code: 'CREDENTIALS_REJECTED',
        oktaRequestId: 'reqWQ5cLTcTQ-Wf2iYzQqT0kw',
      },
    });
    expect(body).toEqual({ verification: await overGraphql() });
    expect(await shown()).toEqual(body);
    const tried = await rest('POST', `${okta}/validate`, { credentials });
    expect(tried.status).toBe(200);
    expect(tried.body).toMatchObject({
      validation: { status: 'REJECTED', code: 'CREDENTIALS_REJECTED', tokenOwner: null, retryAt: null },
    });
  });

  test('shows the owner of the token only to callers with connections:read', async () => {
    const { rest, newKey } = await fresh();
    const { id, name } = await createConnectionOverRest(rest);
    const path = `${okta}/${id}/verify`;
    const verifier = restClient(server.url, await newKey(['connections:verify']));
    const answer = await verifier('POST', path);
    expect(answer.body).toMatchObject({ verification: { status: 'VERIFIED' } });
    expect(answer.text).not.toContain('tokenOwner');
    expect(answer.text).not.toContain(name);
    const reader = restClient(server.url, await newKey(['connections:verify', 'connections:read']));
    expect(at((await reader('POST', path)).body, 'verification', 'tokenOwner')).toHaveProperty('login');
    expect((await verifier('GET', `${okta}/${id}/verification`)).status).toBe(403);
  });

  test('checks credentials without storing them, by the rules of create', async () => {
    const { rest } = await fresh();
    const validate = (body: object) => rest('POST', `${okta}/validate`, body);
    const { credentials } = oktaBody();
    const good = await validate({ method: 'api-token', credentials });
    expect(good.body).toMatchObject({
      validation: { status: 'VERIFIED', tokenOwner: { id: expect.any(String) } },
    });
    for (const [body, paths] of [
      [{ credentials, name: 'x' }, ['']],
      [{ credentials: { ...credentials, extra: 1 } }, ['credentials']],
      [
        { method: 'x', credentials: { apiToken: '' } },
        ['credentials.apiToken', 'credentials.instanceUrl', 'method'],
      ],
      [{}, ['credentials']],
    ] as const) {
      const { status, body: problem } = await validate(body);
      expect(status).toBe(422);
      const issues: { path: string[] }[] = Object(at(problem, 'issues'));
      expect(issues.map(({ path }) => path.join('.')).sort()).toEqual(paths);
    }
    const inside = await validate({ credentials: { ...credentials, instanceUrl: 'https://10.0.0.1' } });
    expect(inside).toMatchObject({
      status: 422,
      body: { code: 'HOST_NOT_ALLOWED', issues: [{ path: ['credentials', 'instanceUrl'] }] },
    });
    expect(at((await rest('GET', okta)).body, 'appConnections')).toEqual([]);
  });
});

describe('REST list of connections', () => {
  test('has the filters and orders of GraphQL on every page', async () => {
    const { rest, client, projectId } = await fresh();
    for (const name of ['alpha-one', 'alpha-two', 'beta-one', 'beta-two']) {
      await createConnectionOverRest(rest, { name, ...(name.endsWith('one') && { projectId }) });
    }
    const { appConnections } = await client.request<{
      appConnections: { nodes: { name: string; createdAt: string }[] };
    }>('{ appConnections(orderBy: { field: CREATED_AT }) { nodes { name createdAt } } }');
    const [, second] = appConnections.nodes;
    const from = encodeURIComponent(`${second?.createdAt}`);
    const since = appConnections.nodes.filter(({ createdAt }) => createdAt >= `${second?.createdAt}`);
    const list = async (path: string) => {
      const names: string[] = [];
      for (let next: string | undefined = path; next; ) {
        const { status, body, headers } = await rest('GET', next);
        expect([next, status]).toEqual([next, 200]);
        names.push(...Object(at(body, 'appConnections')).map((each: object) => at(each, 'name')));
        next = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1];
      }
      return names;
    };
    const all = ['alpha-one', 'alpha-two', 'beta-one', 'beta-two'];
    for (const root of [okta, `${okta}/available`, '/api/v1/app-connections']) {
      for (const [query, names] of [
        ['limit=1', all],
        ['limit=1&direction=desc', all.toReversed()],
        ['limit=3&orderBy=createdAt&direction=desc', all.toReversed()],
        ['limit=1&namePrefix=ALPHA', all.slice(0, 2)],
        ['limit=1&nameContains=two&direction=desc', ['beta-two', 'alpha-two']],
        [`limit=1&projectId=${projectId}&nameContains=beta`, ['beta-one']],
        ['status=VERIFIED&method=api-token', all],
        ['status=REJECTED', []],
        [`createdFrom=${from}&limit=2`, since.map(({ name }) => name)],
        [`createdTo=${from}`, all.slice(0, 4 - since.length)],
      ] as const) {
        expect(await list(`${root}?${query}`), query).toEqual(names);
      }
    }
    expect(await list('/api/v1/app-connections?app=okta&limit=3')).toEqual(all);
    const { headers } = await rest('GET', `${okta}?limit=1`);
    const cursor = /cursor=([\w-]+)/.exec(headers.get('link') ?? '')?.[1];
    for (const [query, paths] of [
      [`cursor=${cursor}&direction=desc`, ['cursor']],
      [
        'status=NONE&method=x&orderBy=id&direction=up&createdFrom=x&limit=0',
        ['createdFrom', 'direction', 'limit', 'method', 'orderBy', 'status'],
      ],
      ['createdFrom=2020-01-02T00:00:00Z&createdTo=2020-01-01T00:00:00Z', ['createdTo']],
      ['namePrefix=%00&nameContains=', ['nameContains', 'namePrefix']],
      ['app=okta', ['']],
    ] as const) {
      const { status, body } = await rest('GET', `${okta}?${query}`);
      const issues: { path: string[] }[] = Object(at(body, 'issues'));
      expect([status, issues.map(({ path }) => path.join('.')).sort()]).toEqual([422, paths]);
    }
  });
});

describe('REST restore', () => {
  test('restores a deleted connection under its name, or under another when the name is taken', async () => {
    const { rest } = await fresh();
    const { id, name } = await createConnectionOverRest(rest);
    await rest('DELETE', `${okta}/${id}`);
    const restored = await rest('POST', `${okta}/${id}/restore`);
    expect(restored.body).toMatchObject({ appConnection: { id, name, version: 3 } });
    await rest('DELETE', `${okta}/${id}`);
    await createConnectionOverRest(rest);
    const taken = await rest('POST', `${okta}/${id}/restore`, {});
    expect(taken).toMatchObject({ status: 409, body: { code: 'NAME_TAKEN', issues: [{ path: ['name'] }] } });
    const renamed = await rest('POST', `${okta}/${id}/restore`, { name: 'another' });
    expect(renamed.body).toMatchObject({ appConnection: { id, name: 'another' } });
    expect((await rest('POST', `${okta}/${id}/restore`)).status).toBe(404);
    expect((await rest('POST', `${okta}/${id}/restore`, { name: 'A B' })).status).toBe(422);
    expect((await rest('POST', `${okta}/${id}/restore`, { nom: 'a' })).status).toBe(422);
  });
});

describe('REST audit trail', () => {
  test('returns the same as GraphQL on every page and for every filter', async () => {
    const { rest, client, projectId } = await fresh();
    const { id } = await createConnectionOverRest(rest, { projectId });
    await createConnectionOverRest(rest, { name: 'second' });
    await rest('PATCH', `${okta}/${id}`, { description: 'Changed' });
    await rest('POST', `${okta}/${id}/verify`);
    await rest('POST', okta, oktaBody({ name: 'second' }));
    const { auditEvents } = await client.request<{ auditEvents: { nodes: { at: string; keyId: string }[] } }>(
      `{ auditEvents(first: 100) { nodes {
        seq at action keyId subject setupLinkId connectionId connectionName projectId apiKeyId targetName address requestId
        outcome changedFields count use { method path queryParameters status }
      } } }`,
    );
    const expected = auditEvents.nodes;
    expect(expected).toHaveLength(5);

    const list = async (query: string) => {
      const events: object[] = [];
      for (let path: string | undefined = `/api/v1/audit-events?${query}`; path; ) {
        const { status, body, headers } = await rest('GET', path);
        expect(status).toBe(200);
        events.push(...Object(at(body, 'auditEvents')));
        path = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1];
      }
      return events;
    };
    expect(await list('')).toEqual(expected);
    expect(await list('limit=2')).toEqual(expected);
    const [, middle] = [expected[0], expected[2]];
    for (const [query, isMatch] of [
      [`connectionId=${id}&limit=1`, { connectionId: id }],
      [`projectId=${projectId}&limit=2`, { projectId }],
      ['action=CREATE_CONNECTION&limit=1', { action: 'CREATE_CONNECTION' }],
      ['outcome=NAME_TAKEN', { outcome: 'NAME_TAKEN' }],
      [`keyId=${expected[0]?.keyId}&limit=4`, { keyId: expected[0]?.keyId }],
      ['subject=unknown', { subject: 'unknown' }],
    ] as const) {
      const matching = expected.filter((event) =>
        Object.entries(isMatch).every(([name, value]) => at(event, name) === value),
      );
      expect(await list(query), query).toEqual(matching);
    }
    const from = encodeURIComponent(`${middle?.at}`);
    const since = expected.filter((event) => event.at >= `${middle?.at}`);
    expect(await list(`from=${from}&limit=1`)).toEqual(since);
    expect(await list(`to=${from}`)).toEqual(expected.filter((event) => event.at < `${middle?.at}`));
  });

  test.each([
    ['action=NOTHING', 'action'],
    ['connectionId=x', 'connectionId'],
    ['from=yesterday', 'from'],
    ['to=2020-01-01', 'to'],
    ['cursor=x', 'cursor'],
    ['limit=101', 'limit'],
    ['subject=%00', 'subject'],
  ])('rejects %s', async (query, name) => {
    const { rest } = await fresh();
    const { status, body } = await rest('GET', `/api/v1/audit-events?${query}`);
    expect([status, at(body, 'issues', 0, 'path')]).toEqual([422, [name]]);
  });
});

describe('REST access management', () => {
  test('lists, grants and revokes like GraphQL', async () => {
    const { rest, client, projectId, orgId } = await fresh();
    const { body: who } = await rest('GET', '/api/v1/viewer');
    expect(who).toMatchObject({
      viewer: {
        organisation: { id: orgId },
        subject: null,
        projects: null,
        scopes: expect.arrayContaining(['access:admin']),
      },
    });
    const created = await rest('POST', '/api/v1/projects', { name: ' Lohn & Gehalt ' });
    expect(created.body).toMatchObject({ project: { name: 'Lohn & Gehalt' } });
    const another = at(created.body, 'project', 'id');
    const clash = await rest('PATCH', `/api/v1/projects/${projectId}`, { name: 'Lohn & Gehalt' });
    expect(clash).toMatchObject({ status: 409, body: { code: 'NAME_TAKEN', issues: [{ path: ['name'] }] } });
    const first = await rest('GET', '/api/v1/projects?limit=1');
    const next = /^<([^>]+)>/.exec(first.headers.get('link') ?? '')?.[1] ?? '';
    expect(at((await rest('GET', next)).body, 'projects', 0, 'id')).toBe(projectId);

    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const granted = await rest('POST', '/api/v1/api-keys', {
      ...{ name: 'Robot', scopes: ['connections:read', 'access:admin'], projectIds: [another], expiresAt },
    });
    expect(granted.body).toMatchObject({
      apiKey: {
        name: 'Robot',
        scopes: ['connections:read', 'access:admin'],
        projectIds: [another],
        expiresAt,
      },
      key: expect.stringMatching(/^ack_/),
    });
    const id = at(granted.body, 'apiKey', 'id');
    const connectionIds = [(await createConnectionOverRest(rest, { projectId: another })).id];
    const narrow = await rest('POST', '/api/v1/api-keys', {
      name: 'a',
      scopes: ['audit:read'],
      connectionIds,
    });
    expect(narrow.body).toMatchObject({ apiKey: { projectIds: null, connectionIds } });
    await rest('POST', `/api/v1/api-keys/${at(narrow.body, 'apiKey', 'id')}/revoke`);
    const robot = restClient(server.url, String(at(granted.body, 'key')));
    expect((await robot('GET', '/api/v1/viewer')).body).toMatchObject({
      viewer: { apiKey: { id }, projects: [{ id: another }], expiresAt },
    });
    const more = await robot('POST', '/api/v1/api-keys', { name: 'More', scopes: ['audit:read'] });
    expect(more).toMatchObject({
      status: 403,
      body: { issues: [{ path: ['scopes', 0] }, { path: ['projectIds'] }, { path: ['expiresAt'] }] },
    });
    const listed = await rest('GET', '/api/v1/api-keys');
    const { apiKeys } = await client.request<{ apiKeys: { nodes: { id: string }[] } }>(
      '{ apiKeys { nodes { id name projectIds connectionIds createdAt expiresAt revokedAt } } }',
    );
    expect(at(listed.body, 'apiKeys')).toMatchObject(apiKeys.nodes);
    const revoked = await rest('POST', `/api/v1/api-keys/${id}/revoke`);
    expect(at(revoked.body, 'apiKey', 'revokedAt')).not.toBeNull();
    expect((await robot('GET', '/api/v1/viewer')).status).toBe(401);
    expect(at((await rest('GET', '/api/v1/api-keys')).body, 'apiKeys')).toHaveLength(1);
    expect(at((await rest('GET', '/api/v1/api-keys?includeRevoked=true')).body, 'apiKeys')).toHaveLength(3);
    const own = at(who, 'viewer', 'apiKey', 'id');
    const last = await rest('POST', `/api/v1/api-keys/${own}/revoke`);
    expect(last).toMatchObject({ status: 409, body: { code: 'LAST_ADMINISTRATOR' } });
  });

  test.each<[string, string, object, string[]]>([
    ['POST', '/projects', { name: '', extra: 1 }, ['', 'name']],
    ['PATCH', `/projects/${randomUUID()}`, { nom: 'x' }, ['', 'name']],
    [
      'POST',
      '/api-keys',
      { name: '\0', scopes: [], projectIds: ['x'], connectionIds: ['x'], expiresAt: 'soon' },
      ['connectionIds.0', 'expiresAt', 'name', 'projectIds.0', 'scopes'],
    ],
    [
      'POST',
      '/api-keys',
      { name: 'x', scopes: ['NONE'], expiresAt: '2001-01-01T00:00:00Z' },
      ['expiresAt', 'scopes.0'],
    ],
  ])('rejects invalid input: %s %s %j', async (method, path, body, paths) => {
    const { rest } = await fresh();
    const { status, body: problem } = await rest(method, `/api/v1${path}`, body);
    expect(status).toBe(422);
    const issues: { path: string[] }[] = Object(at(problem, 'issues'));
    expect(issues.map((issue) => issue.path.join('.')).sort()).toEqual(paths);
  });
});
