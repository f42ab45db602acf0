import { randomUUID } from 'node:crypto';
import {
  type GraphQLObjectType,
  type GraphQLOutputType,
  getNamedType,
  isInterfaceType,
  isObjectType,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createSchema } from '../src/app/schema.ts';
import { createApps } from '../src/apps/index.ts';
import { type Scope, scopes } from '../src/identity/caller.ts';
import { listAuditEvents } from './testkit/access.ts';
import { type Created, createMutation, okta } from './testkit/operations.ts';
import { at, oktaBody, restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let server: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  server = await startTestServer();
  organisation = await server.newOrganisation();
});
afterAll(() => server.close());

const schema = createSchema(createApps({ trustedHosts: new Set() }));

/** Whether connections with an API token, which the test has, can be of this type. */
const isOfApiTokens = ({ name }: GraphQLObjectType) => !name.includes('ServiceApp');

/** Returns the path of every leaf field of a type, so that the test also covers fields added later. */
function listLeafPaths(type: GraphQLOutputType, path: readonly string[] = []): string[] {
  const named = getNamedType(type);
  if (isInterfaceType(named)) {
    const types = schema.getPossibleTypes(named).filter(isOfApiTokens);
    const paths = types.flatMap((possible) => listLeafPaths(possible, path));
    return [...new Set(paths)];
  }
  if (!isObjectType(named)) return [path.join('.')];
  return Object.values(named.getFields()).flatMap((field) =>
    listLeafPaths(field.type, [...path, field.name]),
  );
}

const connectionType = schema.getType('AppConnection');
if (!isObjectType(connectionType)) throw new Error('The schema has no connections.');
// Connections are converted to service apps, which have no owner.
const everything = listLeafPaths(connectionType).filter(
  (path) => !path.startsWith('conversion.credentials.tokenOwner.'),
);
const verification = everything.filter((path) => path.startsWith('verification.'));
const result = verification.filter((path) => !path.startsWith('verification.details.'));
const conversion = everything.filter((path) => path.startsWith('conversion.verification.'));
const tokenOwner = everything.filter((path) => path.startsWith('credentials.tokenOwner.'));

/** Builds the selection of leaf fields, with each field once for each type that has it. */
function select(...paths: string[]): string {
  return selectOf(connectionType as GraphQLObjectType, paths);
}

function selectOf(type: GraphQLOutputType, paths: readonly string[]): string {
  const named = getNamedType(type);
  if (!isObjectType(named) && !isInterfaceType(named)) return '';
  const byFirst = Map.groupBy(paths, (path) => path.split('.', 1)[0] ?? '');
  return [...byFirst]
    .map(([first, all]) => {
      const field = named.getFields()[first];
      if (!field) {
        const types = isInterfaceType(named) ? schema.getPossibleTypes(named) : [];
        const having = types.filter((possible) => isOfApiTokens(possible) && possible.getFields()[first]);
        return having.map((possible) => `... on ${possible.name} { ${selectOf(possible, all)} }`).join(' ');
      }
      const rests = all.map((path) => path.slice(first.length + 1)).filter((rest) => rest !== '');
      return rests.length === 0 ? first : `${first} { ${selectOf(field.type, rests)} }`;
    })
    .join(' ');
}

/** Returns the value at a path; of a list, that of the first element. Below null and an empty list, it is null. */
function valueAt(connection: unknown, path: string): unknown {
  return path.split('.').reduce((value, name) => {
    const parent = Array.isArray(value) ? (value[0] ?? null) : value;
    return parent === null ? null : at(parent, name);
  }, connection);
}

async function newConnection(differing: Record<string, unknown> = {}) {
  const input = okta({ name: `c-${randomUUID()}`, description: 'Not for everybody', ...differing });
  const created = await organisation.client.request<Created>(createMutation, input);
  return created.createOktaConnection.appConnection;
}

/** Sends a mutation and returns the connection in its payload, or the error. */
async function sendMutation(
  apiKey: string,
  field: string,
  args: string,
  variables: object,
  selection: string,
) {
  const declared = {
    id: '$id: UUID!',
    input: '$input: ',
    name: '$name: String',
    to: '$to: ConvertOktaConnectionInput!',
  };
  const types: Record<string, string> = {
    createOktaConnection: 'CreateOktaConnectionInput!',
    updateOktaConnection: 'UpdateOktaConnectionInput!',
  };
  const names = Object.keys(variables) as (keyof typeof declared)[];
  const definitions = names.map((name) =>
    name === 'input' ? `${declared.input}${types[field]}` : declared[name],
  );
  const query = `mutation (${definitions}) { ${field}(${args}) { appConnection { ${selection} } } }`;
  const { text } = await restClient(server.url, apiKey)('POST', '/graphql', { query, variables });
  const body = JSON.parse(text);
  return { connection: at(body, 'data', field, 'appConnection'), error: at(body, 'errors', 0) };
}

const update = (input: object) => ({
  field: 'updateOktaConnection',
  args: 'id: $id, input: $input',
  variables: async () => ({ id: (await newConnection()).id, input }),
});
const restore = (name: () => object) => ({
  field: 'restoreAppConnection',
  args: 'id: $id, name: $name',
  variables: async () => {
    const { id } = await newConnection();
    await restClient(server.url, organisation.apiKey)('DELETE', `/api/v1/app-connections/okta/${id}`);
    return { id, name: null, ...name() };
  },
});

/** Each mutation, its scope, and the fields that its payload shows to a caller with only that scope. */
const changes: [
  string,
  Scope,
  { field: string; args: string; variables: () => Promise<object> },
  string[],
][] = [
  [
    'create',
    'connections:write',
    {
      field: 'createOktaConnection',
      args: 'input: $input',
      variables: async () => okta({ name: `c-${randomUUID()}` }),
    },
    everything,
  ],
  ['an empty update', 'connections:write', update({}), ['id', 'version']],
  [
    'a new name',
    'connections:write',
    update({
      get name() {
        return `c-${randomUUID()}`;
      },
    }),
    ['id', 'version', 'name'],
  ],
  [
    'a new description',
    'connections:write',
    update({ description: 'New' }),
    ['id', 'version', 'description'],
  ],
  ['no description', 'connections:write', update({ description: null }), ['id', 'version', 'description']],
  [
    'tags and notes',
    'connections:write',
    update({ tags: [{ key: 'a', value: 'b' }], notes: null }),
    ['id', 'version', 'tags.key', 'tags.value', 'notes'],
  ],
  [
    'the same host again',
    'connections:write',
    update({ credentials: { instanceUrl: 'https://example.okta.com' } }),
    ['id', 'version', 'credentials.instanceUrl'],
  ],
  [
    'a new token',
    'connections:write',
    update({ credentials: { apiToken: 'a-second-token' } }),
    ['id', 'version', ...verification, ...tokenOwner],
  ],
  [
    'verify',
    'connections:verify',
    {
      field: 'verifyAppConnection',
      args: 'id: $id',
      variables: async () => ({ id: (await newConnection()).id }),
    },
    ['id', ...result],
  ],
  [
    'a conversion',
    'connections:write',
    {
      field: 'convertOktaConnection',
      args: 'id: $id, to: $to',
      variables: async () => ({
        id: (await newConnection()).id,
        to: { clientId: '0oa1ab2cd3EF4GH5i0d7', scopes: ['okta.users.read'] },
      }),
    },
    [
      ...['id', 'version', 'method', 'conversion.method', 'conversion.startedAt'],
      ...conversion.filter((path) => !path.startsWith('conversion.verification.details.')),
    ],
  ],
  [
    'the cancellation of a conversion',
    'connections:write',
    {
      field: 'cancelAppConnectionConversion',
      args: 'id: $id',
      variables: async () => ({ id: (await newConnection()).id }),
    },
    ['id', 'version'],
  ],
  ['restore', 'connections:write', restore(() => ({})), ['id', 'version']],
  [
    'restore under a new name',
    'connections:write',
    restore(() => ({ name: `c-${randomUUID()}` })),
    ['id', 'version', 'name'],
  ],
];

describe('mutation payload without connections:read shows only what was sent and what the change produced', () => {
  test.each(changes)('%s', async (_, scope, { field, args, variables }, shown) => {
    const apiKey = await organisation.newKey([scope]);
    const seen: string[] = [];
    let given = await variables();
    for (const path of everything) {
      const { connection, error } = await sendMutation(apiKey, field, args, given, select(path));
      // What was refused had no effect, and can be sent again.
      if (error === undefined) given = await variables();
      if (error === undefined && valueAt(connection, path) !== undefined) seen.push(path);
      else {
        expect(connection).toBeUndefined();
        expect(error).toMatchObject({
          message: expect.stringContaining(path),
          extensions: { code: 'FORBIDDEN', remedy: expect.stringContaining('connections:read') },
        });
      }
    }
    expect(seen.sort()).toEqual([...shown].sort());
  });

  test.each(changes)(
    'with connections:read shows every field: %s',
    async (_, scope, { field, args, variables }) => {
      const apiKey = await organisation.newKey([scope, 'connections:read']);
      const selection = select(...everything);
      const { connection, error } = await sendMutation(apiKey, field, args, await variables(), selection);
      expect(error).toBeUndefined();
      for (const path of everything) expect(valueAt(connection, path), path).toBeDefined();
    },
  );
});

describe('mutation without connections:read is refused before it has an effect', () => {
  test('when the payload selects more, and records an audit event', async () => {
    // Refusals have a limit per organisation, which this file would reach.
    const fresh = await server.newOrganisation();
    const { createOktaConnection } = await fresh.client.request<Created>(createMutation, okta());
    const { id, version } = createOktaConnection.appConnection;
    const apiKey = await fresh.newKey(['connections:write', 'connections:verify']);
    const before = await server.asOwner().execute('select * from app_connection where id = ?', [id]);
    const input = { description: 'New' };
    await sendMutation(apiKey, 'updateOktaConnection', 'id: $id, input: $input', { id, input }, 'name');
    await sendMutation(apiKey, 'verifyAppConnection', 'id: $id', { id }, 'version');
    expect(version).toBe(1);
    expect(await server.asOwner().execute('select * from app_connection where id = ?', [id])).toEqual(before);
    const events = (await listAuditEvents(fresh.client)).slice(-2);
    expect(events.map(({ action, outcome }) => [action, outcome])).toEqual([
      ['UPDATE_CONNECTION', 'FORBIDDEN'],
      ['VERIFY_CONNECTION', 'FORBIDDEN'],
    ]);
  });

  test.each([
    ['under an alias', 'id: name'],
    ['in a fragment on the type', '... on AppConnection { ... on AppConnection { name } }'],
    ['of the credentials', 'credentials { ... on OktaCredentials { address: instanceUrl } }'],
    ['with a condition that holds', 'name @include(if: true)'],
    ['with another that does not hold', 'name @skip(if: false)'],
    [
      'in two places, one of which a directive excludes',
      'name @skip(if: true) ... @include(if: true) { name }',
    ],
  ])('when a field is selected %s', async (_, selection) => {
    const { id, name } = await newConnection();
    const apiKey = await organisation.newKey(['connections:write']);
    const variables = { id, input: {} };
    // Repeated, because a frequent document takes the compiled path.
    for (let time = 0; time < 12; time += 1) {
      const args = 'id: $id, input: $input';
      const { connection, error } = await sendMutation(
        apiKey,
        'updateOktaConnection',
        args,
        variables,
        selection,
      );
      expect(JSON.stringify([connection, error])).not.toContain(name);
      expect(error).toMatchObject({ extensions: { code: 'FORBIDDEN' } });
    }
  });

  test('is not refused for fields that a directive excludes', async () => {
    const { id } = await newConnection();
    const apiKey = await organisation.newKey(['connections:write']);
    const query = `mutation ($id: UUID!, $mayRead: Boolean!) {
      renamed: updateOktaConnection(id: $id, input: {}) { appConnection { id ...More @include(if: $mayRead) } }
    }
    fragment More on AppConnection { name description }`;
    const rest = restClient(server.url, apiKey);
    for (let time = 0; time < 12; time += 1) {
      const allowed = await rest('POST', '/graphql', { query, variables: { id, mayRead: false } });
      expect(JSON.parse(allowed.text)).toEqual({ data: { renamed: { appConnection: { id } } } });
      const refused = await rest('POST', '/graphql', { query, variables: { id, mayRead: true } });
      expect(at(JSON.parse(refused.text), 'errors', 0, 'extensions', 'code')).toBe('FORBIDDEN');
    }
  });
});

describe('REST without connections:read', () => {
  const path = '/api/v1/app-connections/okta';

  test.each<[string, object, string[]]>([
    ['an empty change', {}, []],
    ['a version', { version: 1 }, []],
    ['a description', { description: 'New' }, ['description']],
    ['the same host', { credentials: { instanceUrl: 'https://example.okta.com' } }, ['credentials']],
    ['a new token', { credentials: { apiToken: 'a-second-token' } }, []],
  ])('returns the id, the version and what was sent for an update: %s', async (_, body, shown) => {
    const { id } = await newConnection();
    const answer = await restClient(server.url, await organisation.newKey(['connections:write']))(
      'PATCH',
      `${path}/${id}`,
      body,
    );
    expect(answer.status).toBe(200);
    expect(Object.keys(Object(at(answer.body, 'appConnection')))).toEqual(['id', 'version', ...shown]);
    const full = await restClient(server.url, organisation.apiKey)('PATCH', `${path}/${id}`, body);
    expect(Object.keys(Object(at(full.body, 'appConnection')))).toHaveLength(13);
  });

  test('returns all that was sent for a create', async () => {
    const rest = restClient(server.url, await organisation.newKey(['connections:write']));
    const { body } = await rest('POST', path, oktaBody({ name: `c-${randomUUID()}` }));
    expect(Object.keys(Object(at(body, 'appConnection')))).toHaveLength(13);
  });
});

test('returns no stored field in any mutation to a caller with every scope but connections:read', async () => {
  const { id, name, credentialsHash } = await newConnection();
  const apiKey = await organisation.newKey(scopes.filter((scope) => scope !== 'connections:read'));
  const rest = restClient(server.url, apiKey);
  const path = `/api/v1/app-connections/okta/${id}`;
  const texts = [
    (await rest('PATCH', path, {})).text,
    (await rest('PATCH', path, { description: 'New' })).text,
    (await rest('DELETE', path)).text,
    JSON.stringify(await sendMutation(apiKey, 'restoreAppConnection', 'id: $id', { id }, 'id version')),
    JSON.stringify(
      await sendMutation(apiKey, 'verifyAppConnection', 'id: $id', { id }, 'id verification { status }'),
    ),
  ];
  for (const text of texts) {
    expect(text).toContain(id);
    expect(text).not.toContain(name);
    expect(text).not.toContain(credentialsHash);
    expect(text).not.toContain('example.okta.com');
  }
});
