import { randomUUID } from 'node:crypto';
import { type GraphQLInputType, getNamedType, getNullableType, isInputObjectType, isListType } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createSchema } from '../src/app/schema.ts';
import { createApps } from '../src/apps/index.ts';
import { at, createConnectionOverRest, oktaBody, type RestClient, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

let server: TestServer;
let apiKey: string;
let rest: RestClient;
let id: string;
beforeAll(async () => {
  server = await startTestServer();
  ({ apiKey } = await server.newOrganisation());
  rest = restClient(server.url, apiKey);
  ({ id } = await createConnectionOverRest(rest));
});
afterAll(async () => {
  expect(server.logs()).not.toContain('unexpected error');
  await server.close();
});

const credentials = { instanceUrl: 'https://example.okta.com', apiToken: 'a-good-token' };
const unknownId = randomUUID();
const annotations = { tags: { key: 'a', value: 'a' }, owner: { name: 'a', email: 'a@example.com' } };

/** The other required arguments of an operation. */
const needed: Record<string, object> = {
  createOktaConnection: { input: { name: 'a', credentials, ...annotations } },
  appConnections: { filter: { tags: { key: 'a' } } },
  // A list of one text can be written without brackets.
  convertOktaConnection: {
    id: unknownId,
    to: { clientId: '0oa1ab2cd3EF4GH5i0d7', scopes: 'okta.users.read' },
  },
  updateOktaConnection: { id: unknownId, input: annotations },
  validateOktaCredentials: { credentials },
  deleteAppConnection: { id: unknownId },
  restoreAppConnection: { id: unknownId },
  createApiKey: { input: { name: 'a', scopes: ['AUDIT_READ'] } },
  createProject: { input: { name: 'a' } },
  renameProject: { id: unknownId, name: 'a' },
  appConnectionByName: { name: 'a' },
  testUsePolicy: {
    connectionId: unknownId,
    method: 'GET',
    path: '/a',
    policy: { rules: { effect: 'ALLOW', path: '/a' } },
  },
  createWebhookEndpoint: { input: { url: 'https://example.com/webhooks' } },
  updateWebhookEndpoint: { id: unknownId, input: {} },
  webhookMessages: { endpointId: unknownId },
  updateUsePolicy: { connectionId: unknownId, input: { rules: { effect: 'ALLOW' } } },
  oktaResponse: { connectionId: unknownId, path: '/a', headers: { name: 'a', value: 'a' } },
  executeOktaRequest: {
    input: { connectionId: unknownId, method: 'GET', path: '/a', headers: { name: 'a', value: 'a' } },
  },
};

/** Fields that read from an app need no more than a connection. */
const neededBy = (field: string): object =>
  needed[field] ?? (field.startsWith('okta') ? { connectionId: unknownId } : {});

/** Every string argument of every operation by its path, also nested in inputs. */
function textArguments(): [operation: string, field: string, path: string[], type: string][] {
  const schema = createSchema(createApps({ trustedHosts: new Set() }));
  const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
  type Found = { path: string[]; type: string };
  const textsIn = (args: readonly { name: string; type: GraphQLInputType }[], path: string[]): Found[] =>
    args.flatMap(({ name, type }) => {
      const named = getNamedType(type);
      if (isInputObjectType(named)) return textsIn(Object.values(named.getFields()), [...path, name]);
      const isText = named.name === 'String' || named.name === 'Secret';
      const isList = isListType(getNullableType(type));
      return isText ? [{ path: [...path, name], type: isList ? `[${named.name}!]!` : `${named.name}!` }] : [];
    });
  return roots.flatMap((root) =>
    Object.values(root?.getFields() ?? {}).flatMap(({ name, args }) =>
      textsIn(args, []).map(({ path, type }): [string, string, string[], string] => [
        `${root?.name}`,
        name,
        path,
        type,
      ]),
    ),
  );
}

/** Builds a value with a text at the path. */
function withText(value: object, [name = '', ...rest]: string[], text: string): object {
  const inner = rest.length === 0 ? text : withText(Object(at(value, name)), rest, text);
  return { ...value, [name]: inner };
}

/** A placeholder for a text that is sent as a variable. */
const asVariable = '$text';

/** Serializes a value as a GraphQL literal. */
function literal(value: unknown, name = ''): string {
  if (name === 'scopes' && Array.isArray(value)) return '[AUDIT_READ]';
  if (name === 'method' || name === 'effect') return String(value);
  if (value === asVariable) return asVariable;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{ ${Object.entries(value)
    .map(([key, item]) => `${key}: ${literal(item, key)}`)
    .join(', ')} }`;
}

/** The paths of the issues of an error, without the positions in lists. */
function issuePaths(error: object): unknown[] {
  const issues = at(error, 'extensions', 'issues') as { path: (string | number)[] }[];
  return issues.map(({ path }) => path.filter((part) => typeof part === 'string'));
}

const all = textArguments();
const texts: [string, string][] = [
  ['a NUL', 'a\0b'],
  ['half of a surrogate pair', 'a\ud83d'],
  ['the other half', '\ude00b'],
];

test('the schema has strings in every kind of position', () => {
  const names = all.map(([, field, path]) => `${field} ${path.join('.')}`);
  for (const name of [
    'auditEvents filter.subject',
    'auditEvents filter.outcome',
    'appConnections filter.nameContains',
    'createOktaConnection input.credentials.apiToken',
    'appConnectionChanged after',
  ]) {
    expect(names).toContain(name);
  }
});

describe.each(texts)('%s, which PostgreSQL cannot store, is rejected with BAD_USER_INPUT', (_, text) => {
  test.each(all)('over GraphQL in %s.%s at %j', async (root, field, path, type) => {
    const args = withText(neededBy(field), path, asVariable);
    const written = Object.entries(args).map(([name, value]) => `${name}: ${literal(value, name)}`);
    const query = `${root.toLowerCase()} ($text: ${type}) { ${field}(${written}) { __typename } }`;
    const variables = { text };
    if (root === 'Subscription') {
      await using heard = await subscribe(server.graphqlUrl, apiKey, query, variables);
      expect((await heard.next()).errors?.[0]?.extensions).toMatchObject({
        code: 'BAD_USER_INPUT',
        issues: [{ path }],
      });
      return;
    }
    const answer = JSON.parse((await rest('POST', '/graphql', { query, variables })).text);
    expect(answer.errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }]);
    expect(issuePaths(answer.errors[0])).toContainEqual(path);
  });

  test('over REST in a path, a query and a body', async () => {
    const encoded = encodeURIComponent(text.toWellFormed().includes('\0') ? text : '\0');
    const root = '/api/v1/app-connections';
    const okta = `${root}/okta`;
    for (const [method, path, name, body] of [
      ['GET', `${okta}/connection-name/${encoded}`, 'name'],
      ['GET', `${okta}/connection-name/a?projectId=${encoded}`, 'projectId'],
      ['GET', `${root}?cursor=${encoded}`, 'cursor'],
      ['GET', `${okta}?limit=${encoded}`, 'limit'],
      ['GET', `${okta}/${encoded}`, 'id'],
      ['DELETE', `${okta}/${id}?purge=${encoded}`, 'purge'],
      ['POST', okta, 'name', oktaBody({ name: text })],
      ['POST', okta, 'description', oktaBody({ name: 'b', description: text })],
      ['POST', okta, 'method', oktaBody({ name: 'b', method: text })],
      ['POST', okta, 'onUnreachable', oktaBody({ name: 'b', onUnreachable: text })],
      ['POST', okta, 'credentials.instanceUrl', oktaBody({ name: 'b' }, { instanceUrl: text })],
      ['POST', okta, 'credentials.apiToken', oktaBody({ name: 'b' }, { apiToken: text })],
      ['PATCH', `${okta}/${id}`, 'description', { description: text }],
      ['PATCH', `${okta}/${id}`, 'tags.0.value', { tags: [{ key: 'a', value: text }] }],
      ['PATCH', `${okta}/${id}`, 'owner.name', { owner: { name: text, email: 'a@example.com' } }],
      ['PATCH', `${okta}/${id}`, 'notes', { notes: text }],
      ['GET', `${root}?tags=${encoded}`, 'tags'],
      ['PATCH', `${okta}/${id}`, 'credentials.apiToken', { credentials: { apiToken: text } }],
    ] as const) {
      const answer = await rest(method, path, body);
      expect([path, answer.status]).toEqual([path, 422]);
      const issues = Object(at(answer.body, 'issues'));
      expect(issues.map((issue: { path: string[] }) => issue.path.join('.'))).toContain(name);
    }
  });
});

test.each(all.filter(([root]) => root !== 'Subscription'))(
  'NUL in a literal of a GraphQL document is rejected with BAD_USER_INPUT in %s.%s at %j',
  async (root, field, path) => {
    const args = withText(neededBy(field), path, 'a\0b');
    const written = Object.entries(args).map(([name, value]) => `${name}: ${literal(value, name)}`);
    const query = `${root.toLowerCase()} { ${field}(${written}) { __typename } }`;
    const { errors } = JSON.parse((await rest('POST', '/graphql', { query })).text);
    expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }]);
    expect(issuePaths(errors[0])).toContainEqual(path);
  },
);

test.each([
  ['projects', JSON.stringify(['projects', 'a\0', unknownId])],
  ['projects', JSON.stringify(['projects', '\ud83d', unknownId])],
  ['apiKeys', JSON.stringify(['apiKeys', '\0', unknownId])],
  ['auditEvents', 'event:\0'],
  ['appConnections', JSON.stringify(['name', 'asc', 'a\0', unknownId])],
])(
  'a cursor of %s with an unstorable character is rejected with BAD_USER_INPUT: %j',
  async (field, content) => {
    const after = Buffer.from(content).toString('base64url');
    const query = `{ ${field}(after: "${after}") { __typename } }`;
    const { errors } = JSON.parse((await rest('POST', '/graphql', { query })).text);
    expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT', issues: [{ path: ['after'] }] } }]);
  },
);

test('other issues are reported together with an unstorable character', async () => {
  const query = `query ($outcome: String) {
    auditEvents(first: 1000, filter: { subject: "\\u0000", outcome: $outcome }, after: "x") { __typename }
  }`;
  const variables = { outcome: '\ud83d' };
  const { errors } = JSON.parse((await rest('POST', '/graphql', { query, variables })).text);
  const paths = errors[0].extensions.issues.map((issue: { path: string[] }) => issue.path.join('.'));
  expect(paths.sort()).toEqual(['after', 'filter.outcome', 'filter.subject', 'first']);
});

test('an unknown member is rejected without echoing its name', async () => {
  const body = oktaBody({ name: 'b', credentials: { '00planted-as-name': 'a\0', instanceUrl: 'a\0' } });
  const { status, text } = await rest('POST', '/api/v1/app-connections/okta', body);
  expect(status).toBe(422);
  expect(text).not.toContain('00planted');
});

test('every other character is accepted in strings', async () => {
  const description = 'Ünïcödé 😀 \u{10ffff}\ufffd';
  const created = await createConnectionOverRest(rest, { name: 'every-other', description });
  expect(created.description).toBe(description);
  const query = '{ auditEvents(filter: { subject: "😀\\ud83d\\ude00" }) { nodes { seq } } }';
  expect(JSON.parse((await rest('POST', '/graphql', { query })).text)).toEqual({
    data: { auditEvents: { nodes: [] } },
  });
});
