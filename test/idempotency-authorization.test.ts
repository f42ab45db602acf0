import { randomUUID } from 'node:crypto';
import { beforeAll, expect, test } from 'vitest';
import { useServerWithOidc } from './testkit/oidc-server.ts';
import { at, createConnectionOverRest, oktaBody, restClient } from './testkit/rest.ts';

const path = '/api/v1/app-connections/okta';

const oidc = useServerWithOidc();
let otherProjectId: string;
beforeAll(async () => {
  otherProjectId = await oidc.organisation.newProject('Other');
});

/** Returns a REST client with an access token of the provider that has these claims. */
async function clientWith(claims: { projects?: string[]; scope?: string }, sub = 'ada') {
  const scope = 'connections:read connections:write';
  return restClient(
    oidc.server.url,
    await oidc.provider.forge({ org: oidc.organisation.orgId, sub, scope, ...claims }),
  );
}

const newName = () => `c-${randomUUID()}`;

/** Creates a connection in the project, and a client that may change it. */
async function newConnection() {
  const { projectId } = oidc.organisation;
  const before = await clientWith({ projects: [projectId] });
  const connection = await createConnectionOverRest(before, { name: newName(), projectId });
  return { before, connection };
}

/** The arguments of a REST client that change the description under an idempotency key. */
const changeDescription = (id: string, key: string) =>
  ['PATCH', `${path}/${id}`, { description: 'New' }, { 'idempotency-key': key }] as const;

const graphqlUpdate = `mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
  updateOktaConnection(id: $id, input: $input) { appConnection { name credentialsHash } }
}`;
const graphqlDelete = `mutation ($id: UUID!, $key: String) {
  deleteAppConnection(id: $id, idempotencyKey: $key) { restorableUntil }
}`;

test.each<
  [string, (id: string, key: string) => [string, string, object | undefined, Record<string, string>]]
>([
  ['update over REST', (id, key) => ['PATCH', `${path}/${id}`, {}, { 'idempotency-key': key }]],
  ['delete over REST', (id, key) => ['DELETE', `${path}/${id}`, undefined, { 'idempotency-key': key }]],
  [
    'purge over REST',
    (id, key) => ['DELETE', `${path}/${id}?purge=true`, undefined, { 'idempotency-key': key }],
  ],
  [
    'update over GraphQL',
    (id, key) => [
      'POST',
      '/graphql',
      { query: graphqlUpdate, variables: { id, input: { description: 'New', idempotencyKey: key } } },
      {},
    ],
  ],
  [
    'delete over GraphQL',
    (id, key) => ['POST', '/graphql', { query: graphqlDelete, variables: { id, key } }, {}],
  ],
])(
  'returns NOT_FOUND for a repeated %s when the caller no longer has access to the project',
  async (_, request) => {
    const { before, connection } = await newConnection();
    const sent = request(connection.id, randomUUID());
    const first = await before(...sent);
    expect(first.status).toBe(200);
    expect((await before(...sent)).text).toBe(first.text);

    for (const projects of [[otherProjectId], []]) {
      const after = await clientWith({ projects });
      const repeated = await after(...sent);
      expect(repeated.text).toContain('NOT_FOUND');
      expect(repeated.text).not.toContain(connection.name);
      expect(repeated.text).not.toContain(connection.credentialsHash);
      expect(repeated.text).not.toContain('restorableUntil');
    }
    const again = await clientWith({ projects: [otherProjectId, oidc.organisation.projectId] });
    expect((await again(...sent)).text).toBe(first.text);
    expect((await (await clientWith({}))(...sent)).text).toBe(first.text);
  },
);

test('returns FORBIDDEN for a repeated create when the caller no longer has access to the project', async () => {
  const { projectId } = oidc.organisation;
  const before = await clientWith({ projects: [projectId] });
  const [body, headers] = [oktaBody({ name: newName(), projectId }), { 'idempotency-key': randomUUID() }];
  expect((await before('POST', path, body, headers)).status).toBe(200);
  const repeated = await (await clientWith({ projects: [otherProjectId] }))('POST', path, body, headers);
  expect([repeated.status, at(repeated.body, 'code')]).toEqual([403, 'FORBIDDEN']);
});

test('checks the project that the connection is in now when a request is repeated', async () => {
  const { projectId } = oidc.organisation;
  const limited = restClient(
    oidc.server.url,
    await oidc.organisation.newKey(['connections:read', 'connections:write'], { projectIds: [projectId] }),
  );
  const headers = { 'idempotency-key': randomUUID() };
  const body = oktaBody({ name: newName(), projectId });
  const created = await limited('POST', path, body, headers);
  const id = at(created.body, 'appConnection', 'id');
  const change = changeDescription(String(id), 'moved');
  expect((await limited(...change)).status).toBe(200);
  const move = (to: string | null) =>
    oidc.server.asOwner().execute('update app_connection set project_id = ? where id = ?', [to, id]);
  for (const to of [otherProjectId, null]) {
    await move(to);
    expect((await limited(...change)).status).toBe(404);
    expect((await limited('POST', path, body, headers)).status).toBe(404);
  }
  await move(projectId);
  expect((await limited(...change)).status).toBe(200);
});

test('checks the scopes of the caller who repeats the request, not those of the first request', async () => {
  const { before, connection } = await newConnection();
  const change = changeDescription(connection.id, randomUUID());
  expect(at((await before(...change)).body, 'appConnection', 'name')).toBe(connection.name);
  const writer = await (await clientWith({ scope: 'connections:write' }))(...change);
  expect(at(writer.body, 'appConnection')).toEqual({ id: connection.id, version: 2, description: 'New' });
  const reader = await (await clientWith({ scope: 'connections:read' }))(...change);
  expect(reader.status).toBe(403);
  expect(reader.text).not.toContain(connection.name);
});

test('treats the idempotency key of another caller as a different request', async () => {
  const { before, connection } = await newConnection();
  const change = changeDescription(connection.id, randomUUID());
  await before(...change);
  const otherCaller = await (await clientWith({ projects: [otherProjectId] }, 'eve'))(...change);
  expect(otherCaller.status).toBe(404);
  const colleague = await (await clientWith({}, 'grace'))(...change);
  expect(at(colleague.body, 'appConnection', 'version')).toBe(2);
});
