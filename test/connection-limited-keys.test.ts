import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeEventCursor } from '../src/audit/event-cursor.ts';
import { scopes } from '../src/identity/caller.ts';
import {
  createKey,
  keysOf,
  listAuditEvents,
  listProjects,
  projectsQuery,
  revokeKey,
  viewerOf,
} from './testkit/access.ts';
import {
  byIdQuery,
  byNameQuery,
  type ConnectionFields,
  createConnection,
  deleteMutation,
  type Listed,
  listQuery,
  restoreMutation,
  updateMutation,
  verifyMutation,
} from './testkit/operations.ts';
import { at, restClient } from './testkit/rest.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** An organisation with three connections in one project and one outside, and a key that is limited to two of the three. */
async function fresh() {
  const organisation = await server.newOrganisation();
  const { projectId } = organisation;
  const create = async (name: string, project: string | null = projectId) =>
    (await createConnection(organisation, { name, projectId: project })).id;
  const [mine, also, hidden] = [await create('mine'), await create('also'), await create('hidden')];
  const outside = await create('outside', null);
  const { key, apiKey } = await createKey(organisation.client, { connectionIds: [mine, also] });
  const limited = server.clientFor(key);
  return { ...organisation, mine, also, hidden, outside, key, keyId: apiKey.id, limited };
}

/** Returns what a client learns from the error of a request. */
async function refusal(request: Promise<unknown>) {
  const [error, ...others] = await errorsOf(request);
  expect(others).toEqual([]);
  const { code, issues, remedy } = error?.extensions ?? {};
  return { message: error?.message, code, remedy, paths: issues?.map(({ path }) => path) };
}

const renameTo = (id: string, name: string) => ({ id, input: { name } });

describe('an API key that is limited to connections', () => {
  test('has them in its record, and shows them to its holder', async () => {
    const { client, limited, mine, also, keyId } = await fresh();
    const connectionIds = [mine, also];
    expect((await viewerOf(limited)).apiKey).toMatchObject({ id: keyId, projectIds: null, connectionIds });
    expect(await keysOf(client)).toContainEqual(expect.objectContaining({ id: keyId, connectionIds }));
    const duplicates = [mine, mine.toUpperCase()];
    const { apiKey } = await createKey(client, { connectionIds: duplicates });
    expect(apiKey.connectionIds).toEqual([mine]);
    expect((await listAuditEvents(client)).at(-1)?.changedFields).toContain('connectionIds');
  });

  test('reads and lists no other connections', async () => {
    const { limited, key, mine, also, hidden, outside, projectId } = await fresh();
    expect(await limited.request(byIdQuery, { id: mine })).toMatchObject({ appConnection: { name: 'mine' } });
    const byName = { name: 'also', projectId };
    expect(await limited.request(byNameQuery, byName)).toMatchObject({ appConnectionByName: { id: also } });
    const missing = await refusal(limited.request(byIdQuery, { id: randomUUID() }));
    expect(missing.code).toBe('NOT_FOUND');
    for (const id of [hidden, outside]) {
      expect(await refusal(limited.request(byIdQuery, { id }))).toEqual(missing);
    }
    const others: object[] = [
      { name: 'hidden', projectId },
      { name: 'outside' },
      { name: 'unused', projectId },
    ];
    for (const other of others) {
      expect(await refusal(limited.request(byNameQuery, other))).toEqual(missing);
    }
    for (const variables of [{}, { projectId }, { first: 1 }]) {
      const { appConnections } = await limited.request<Listed>(listQuery, variables);
      expect(appConnections.totalCount).toBe(2);
      for (const { id } of appConnections.nodes) expect([mine, also]).toContain(id);
    }
    const rest = restClient(server.url, key);
    const { body } = await rest('GET', '/api/v1/app-connections/okta/available');
    expect(at(body, 'appConnections')).toHaveLength(2);
    expect((await rest('GET', `/api/v1/app-connections/okta/${hidden}`)).status).toBe(404);
  });

  test('changes, verifies, deletes and restores no other connections', async () => {
    const { client, limited, mine, hidden } = await fresh();
    const input = { description: 'changed' };
    const before = await client.request<{ appConnection: ConnectionFields }>(byIdQuery, { id: hidden });
    const requests: [string, object][] = [
      [updateMutation, { input }],
      [updateMutation, { input: { credentials: { apiToken: 'another-token' } } }],
      [verifyMutation, {}],
      [deleteMutation, {}],
      [restoreMutation, {}],
      [deleteMutation, { purge: true }],
    ];
    for (const [document, variables] of requests) {
      expect(await refusal(limited.request(document, { ...variables, id: hidden }))).toMatchObject({
        code: 'NOT_FOUND',
      });
      await limited.request(document, { ...variables, id: mine });
    }
    expect(await client.request(byIdQuery, { id: hidden })).toEqual(before);
    await client.request(deleteMutation, { id: hidden });
    expect(await refusal(limited.request(restoreMutation, { id: hidden }))).toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  test('creates and renames none, and so learns no names of others', async () => {
    const { limited, mine, projectId } = await fresh();
    const restoreAs = (name: string) =>
      limited.request(
        'mutation ($id: UUID!, $name: String) { restoreAppConnection(id: $id, name: $name) { appConnection { id } } }',
        { id: mine, name },
      );
    await limited.request(updateMutation, renameTo(mine, 'mine'));
    const refusals = await Promise.all(
      ['hidden', 'unused'].flatMap((name) => [
        refusal(createConnection({ client: limited }, { name, projectId })),
        refusal(limited.request(updateMutation, renameTo(mine, name))),
      ]),
    );
    await limited.request(deleteMutation, { id: mine });
    refusals.push(await refusal(restoreAs('hidden')), await refusal(restoreAs('unused')));
    for (const { paths, ...each } of refusals) {
      expect(each).toEqual({
        code: 'FORBIDDEN',
        message: 'This API key is limited to connections. It cannot create or rename connections.',
        remedy: 'Use a credential that is not limited to connections.',
      });
      expect(paths?.map((path) => path?.at(-1))).toEqual(['name']);
    }
    await limited.request(restoreMutation, { id: mine });
  });

  test('receives only their changes', async () => {
    const { client, key, mine, also, hidden } = await fresh();
    const after = encodeEventCursor('change', 0);
    const query = `subscription { appConnectionChanged(after: "${after}") { kind connectionId } }`;
    await using changes = await subscribe(server.graphqlUrl, key, query);
    await client.request(updateMutation, renameTo(hidden, 'renamed'));
    await client.request(updateMutation, renameTo(also, 'also-renamed'));
    const received = [await changes.next(), await changes.next(), await changes.next()];
    expect(received.map(({ data }) => data?.appConnectionChanged)).toEqual([
      { kind: 'CREATED', connectionId: mine },
      { kind: 'CREATED', connectionId: also },
      { kind: 'UPDATED', connectionId: also },
    ]);
  });

  test('sees only their audit events', async () => {
    const { client, newKey, mine, also, hidden, projectId } = await fresh();
    await client.request(updateMutation, renameTo(hidden, 'renamed'));
    await client.request(verifyMutation, { id: also });
    const query = `query ($filter: AuditEventFilter) {
      auditEvents(first: 100, filter: $filter) { nodes { action connectionId } }
    }`;
    const seen = async (connectionIds: string[], filter?: object) => {
      const limited = server.clientFor(await newKey(['audit:read'], { connectionIds }));
      const { auditEvents } = await limited.request<{ auditEvents: { nodes: { connectionId: string }[] } }>(
        query,
        { filter },
      );
      return auditEvents.nodes.map(({ connectionId }) => connectionId);
    };
    expect(await seen([mine, also])).toEqual([also, also, mine]);
    expect(await seen([also])).toEqual([also, also]);
    expect(await seen([also], { action: 'VERIFY_CONNECTION' })).toEqual([also]);
    expect(await seen([mine, also], { connectionId: mine })).toEqual([mine]);
    expect(await seen([mine], { projectId })).toEqual([mine]);
    for (const connectionIds of [[mine], [mine, also]]) {
      expect(await seen(connectionIds, { connectionId: hidden })).toEqual([]);
    }
  });

  test('sees the projects of its connections, and cannot create or rename projects', async () => {
    const { limited, newKey, newProject, projectId, outside } = await fresh();
    await newProject('Another');
    expect((await listProjects(limited)).map(({ id }) => id)).toEqual([projectId]);
    const ofOutside = server.clientFor(await newKey(scopes, { connectionIds: [outside] }));
    expect(await ofOutside.request(projectsQuery)).toMatchObject({ page: { nodes: [] } });
    for (const document of [
      'mutation { createProject(input: { name: "Another" }) { project { id } } }',
      'mutation { createProject(input: { name: "Unused" }) { project { id } } }',
      `mutation { renameProject(id: "${projectId}", name: "Another") { project { id } } }`,
    ]) {
      expect(await refusal(limited.request(document))).toMatchObject({
        code: 'FORBIDDEN',
        message: 'This API key is limited to connections.',
      });
    }
  });

  test('is limited to its projects too, if it has both limits', async () => {
    const { client, newKey, newProject, projectId, mine, outside } = await fresh();
    const elsewhere = await newProject('Elsewhere');
    const both = server.clientFor(await newKey(scopes, { projectIds: [elsewhere], connectionIds: [mine] }));
    expect(await refusal(both.request(byIdQuery, { id: mine }))).toMatchObject({ code: 'NOT_FOUND' });
    expect(await both.request(listQuery)).toMatchObject({ appConnections: { totalCount: 0 } });
    expect(await both.request(projectsQuery)).toMatchObject({ page: { nodes: [] } });
    const limits = { projectIds: [projectId], connectionIds: [mine, outside] };
    expect(await refusal(createKey(client, limits))).toMatchObject({
      code: 'NOT_FOUND',
      message: 'There is no such connection in the projects of the key.',
      paths: [['input', 'connectionIds', 1]],
    });
  });
});

describe('limiting an API key to connections', () => {
  test('is refused for connections that do not exist, were deleted, or that the caller does not see', async () => {
    const { client, newKey, newProject, mine, also } = await fresh();
    const { hidden: ofOthers } = await fresh();
    await client.request(deleteMutation, { id: also });
    const connectionIds = [mine, randomUUID(), also, ofOthers];
    const paths = [1, 2, 3].map((index) => ['input', 'connectionIds', index]);
    expect(await refusal(createKey(client, { connectionIds }))).toMatchObject({ code: 'NOT_FOUND', paths });
    const elsewhere = { projectIds: [await newProject('Elsewhere')] };
    const key = await newKey(scopes, elsewhere);
    const request = createKey(server.clientFor(key), { ...elsewhere, connectionIds: [mine] });
    expect(await refusal(request)).toMatchObject({
      code: 'NOT_FOUND',
      paths: [['input', 'connectionIds', 0]],
    });
  });

  test('passes the limit on to the keys that the key creates', async () => {
    const { client, limited, newProject, mine, hidden, projectId } = await fresh();
    const before = await keysOf(client);
    for (const connectionIds of [undefined, null]) {
      expect(await refusal(createKey(limited, { connectionIds }))).toMatchObject({
        code: 'FORBIDDEN',
        message: 'Your own credential is limited to connections. Name connections from these.',
        paths: [['input', 'connectionIds']],
      });
    }
    // A connection that the caller does not see looks like one that does not exist.
    const others = [hidden, randomUUID()].map((id) => createKey(limited, { connectionIds: [mine, id] }));
    for (const other of await Promise.all(others.map(refusal))) {
      expect(other).toMatchObject({
        code: 'FORBIDDEN',
        message: 'Your own credential is limited to other connections.',
        paths: [['input', 'connectionIds', 1]],
      });
    }
    // And so does a project.
    const projects = [await newProject('Elsewhere'), randomUUID()];
    for (const id of projects) {
      const request = createKey(limited, { connectionIds: [mine], projectIds: [id] });
      expect(await refusal(request)).toMatchObject({
        code: 'NOT_FOUND',
        message: 'There is no such project.',
      });
    }
    expect(await keysOf(client)).toEqual(before.map((key) => ({ ...key, lastUsedAt: expect.anything() })));
    const narrow = { connectionIds: [mine], projectIds: [projectId] };
    expect((await createKey(limited, narrow)).apiKey).toMatchObject(narrow);
  });

  test('hides the keys that are not limited to the same connections', async () => {
    const { client, limited, keyId, mine, hidden } = await fresh();
    const made = (await createKey(limited, { connectionIds: [mine] })).apiKey.id;
    const { apiKey: wider } = await createKey(client, { connectionIds: [mine, hidden] });
    const administrator = (await viewerOf(client)).apiKey?.id ?? '';
    expect((await keysOf(limited)).map(({ id }) => id)).toEqual([made, keyId]);
    for (const id of [wider.id, administrator, randomUUID()]) {
      expect(await refusal(revokeKey(limited, id))).toMatchObject({ code: 'NOT_FOUND' });
    }
    const creators = '{ apiKeys { nodes { id createdBy } } viewer { apiKey { createdBy } } }';
    expect(await limited.request(creators)).toEqual({
      apiKeys: {
        nodes: [
          { id: made, createdBy: `key:${keyId}` },
          { id: keyId, createdBy: null },
        ],
      },
      viewer: { apiKey: { createdBy: null } },
    });
    await revokeKey(limited, made);
  });
});
