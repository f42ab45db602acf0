import { randomUUID } from 'node:crypto';
import { type GraphQLClient, gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createKey,
  keysQuery,
  listAllPages,
  listAuditEvents,
  listProjects,
  type Paged,
  type ProjectFields,
  projectsQuery,
  viewerOf,
} from './testkit/access.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import {
  byIdQuery,
  type ConnectionFields,
  type Created,
  createMutation,
  okta,
} from './testkit/operations.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const create = async (client: GraphQLClient, name: string) =>
  (
    await client.request<{ createProject: { project: ProjectFields } }>(
      gql`mutation ($name: String!) { createProject(input: { name: $name }) { project { id name createdAt } } }`,
      { name },
    )
  ).createProject.project;

const rename = async (client: GraphQLClient, id: string, name: string) =>
  (
    await client.request<{ renameProject: { project: ProjectFields } }>(
      gql`mutation ($id: UUID!, $name: String!) {
        renameProject(id: $id, name: $name) { project { id name createdAt } }
      }`,
      { id, name },
    )
  ).renameProject.project;

/** Returns the code of the error and the path of its issue. */
async function refusal(request: Promise<unknown>) {
  const [error, ...others] = await errorsOf(request);
  expect(others).toEqual([]);
  return { code: error?.extensions.code, paths: error?.extensions.issues?.map(({ path }) => path) };
}

describe('project', () => {
  test('is created and renamed, and keeps its id and its connections', async () => {
    const { client, projectId } = await server.newOrganisation();
    const created = await create(client, '  Lohn & Gehalt  ');
    expect(created).toEqual({ id: expect.any(String), name: 'Lohn & Gehalt', createdAt: expect.any(String) });
    const input = okta({ projectId: created.id });
    const { createOktaConnection } = await client.request<Created>(createMutation, input);
    expect(await rename(client, created.id, ' Payroll ')).toEqual({ ...created, name: 'Payroll' });
    // Renaming a project to its own name succeeds without a change.
    expect(await rename(client, created.id, 'Payroll')).toEqual({ ...created, name: 'Payroll' });
    expect(await listProjects(client)).toEqual([
      { ...created, name: 'Payroll' },
      { id: projectId, name: 'Test project', createdAt: expect.any(String) },
    ]);
    const { id } = createOktaConnection.appConnection;
    const { appConnection } = await client.request<{ appConnection: ConnectionFields }>(byIdQuery, { id });
    expect(appConnection.projectId).toBe(created.id);
    const events = (await listAuditEvents(client)).filter(({ action }) => action.endsWith('_PROJECT'));
    const administrator = (await viewerOf(client)).apiKey?.id;
    const common = { outcome: 'OK', keyId: administrator, projectId: created.id, apiKeyId: null };
    expect(events).toEqual([
      { ...common, action: 'CREATE_PROJECT', targetName: 'Lohn & Gehalt', changedFields: ['name'] },
      { ...common, action: 'RENAME_PROJECT', targetName: 'Payroll', changedFields: ['name'] },
    ]);
  });

  test.each([
    ['no characters', ' \t\n '],
    ['65 characters', 'x'.repeat(65)],
    ['a line break', 'a\nb'],
    ['a line separator', 'a\u2028b'],
    ['a NUL', 'a\0b'],
    ['an invisible character', 'a\u200bb'],
    ['half a character', '\udc00'],
  ])('rejects %s as a name', async (_, name) => {
    const { client, projectId } = await server.newOrganisation();
    expect(await refusal(create(client, name))).toEqual({
      code: 'BAD_USER_INPUT',
      paths: [['input', 'name']],
    });
    expect(await refusal(rename(client, projectId, name))).toEqual({
      code: 'BAD_USER_INPUT',
      paths: [['name']],
    });
    expect((await listProjects(client)).map((each) => each.name)).toEqual(['Test project']);
  });

  test('requires a unique name, compared without regard to case and Unicode form', async () => {
    const { client, projectId } = await server.newOrganisation();
    await create(client, 'Café');
    for (const name of ['Café', ' Café ', 'Cafe\u0301']) {
      expect(await refusal(create(client, name))).toEqual({
        code: 'NAME_TAKEN',
        paths: [['input', 'name']],
      });
      expect(await refusal(rename(client, projectId, name))).toEqual({
        code: 'NAME_TAKEN',
        paths: [['name']],
      });
    }
    await create(client, 'café');
    const another = await server.newOrganisation();
    await create(another.client, 'Café');
    await rename(client, projectId, 'Test project renamed');
    await create(client, 'Test project');
  });

  test('requires a unique name also for concurrent creates', async () => {
    const { client, orgId, newProject } = await server.newOrganisation();
    const others = await Promise.all(['a', 'b', 'c', 'd'].map(newProject));
    const other = testDatabaseUrl ? await startTestServer({ beside: server }) : server;
    const elsewhere = new Map([
      [0, client],
      [1, other.clientFor((await createKey(client)).key)],
    ]);
    const by = (index: number) => elsewhere.get(index % 2) ?? client;
    for (let round = 0; round < 5; round += 1) {
      const name = `wanted ${round}`;
      const outcomes = await Promise.all([
        ...Array.from({ length: 6 }, async (_, i) => ({
          field: ['input', 'name'],
          outcome: await create(by(i), name).catch((error) => refusal(Promise.reject(error))),
        })),
        ...others.map(async (id, i) => ({
          field: ['name'],
          outcome: await rename(by(i), id, name).catch((error) => refusal(Promise.reject(error))),
        })),
      ]);
      const refused = outcomes.filter(({ outcome }) => 'code' in outcome);
      expect(refused).toHaveLength(outcomes.length - 1);
      for (const { field, outcome } of refused) {
        expect(outcome).toEqual({ code: 'NAME_TAKEN', paths: [field] });
      }
    }
    const names = (await listProjects(client)).map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(await server.asOwner().execute(`select 1 from project where org_id = '${orgId}'`)).toHaveLength(
      names.length,
    );
    if (other !== server) await other.close();
  });

  test('cannot be renamed when it does not exist', async () => {
    const { client } = await server.newOrganisation();
    expect(await refusal(rename(client, randomUUID(), 'x'))).toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('list of projects', () => {
  const strange = [
    'What?',
    "a'b",
    'a\\b',
    'a\\?b',
    '?? $1 :x',
    "');--",
    '{"a":[1]}',
    '%_',
    'ÅÄÖ',
    '名前',
    '😀',
  ];

  test('has every project exactly once over all pages, for any names', async () => {
    const { client } = await server.newOrganisation();
    const created = ['Test project', ...strange, ...strange.map((name) => `${name} ${name}`)];
    for (const name of created.slice(1)) await create(client, name);
    const whole = await listProjects(client);
    expect(whole.map(({ name }) => name).toSorted()).toEqual(created.toSorted());
    for (const first of [1, 5, created.length, 100]) {
      const pages = await listAllPages<ProjectFields>(client, projectsQuery, { first });
      expect(pages.flat()).toEqual(whole);
      expect(pages.slice(0, -1).every(({ length }) => length === first)).toBe(true);
    }
  });

  test('accepts only its own cursors', async () => {
    const { client, projectId } = await server.newOrganisation();
    const ofKeys = (await client.request<Paged<object>>(keysQuery)).page.pageInfo.endCursor;
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const cursors = [
      '',
      'nonsense',
      ofKeys,
      encode(['projects', 'a\0b', projectId]),
      encode(['projects', 'a', 'b']),
      encode(['projects', 1, projectId]),
      encode(['apiKeys', 'a', projectId]),
      Buffer.from(`${projectId} a`).toString('base64url'),
    ];
    for (const after of cursors) {
      expect([after, await refusal(client.request(projectsQuery, { after }))]).toEqual([
        after,
        { code: 'BAD_USER_INPUT', paths: [['after']] },
      ]);
    }
  });

  test('is empty for a caller that is limited to projects that do not exist', async () => {
    const organisation = await server.newOrganisation();
    const key = await organisation.newKey(['connections:read'], { projectIds: [randomUUID()] });
    expect(await listProjects(server.clientFor(key))).toEqual([]);
  });
});

describe('project administrator limited to some projects', () => {
  test('sees only these, and cannot create or rename projects', async () => {
    const organisation = await server.newOrganisation();
    const { client, newProject } = organisation;
    const [one, two, three] = [await newProject('One'), await newProject('Two'), await newProject('Three')];
    const { key } = await createKey(client, { projectIds: [one, two] });
    const limited = server.clientFor(key);
    expect((await listProjects(limited)).map(({ id }) => id)).toEqual([one, two]);
    expect((await listAllPages<ProjectFields>(limited, projectsQuery, { first: 1 })).flat()).toHaveLength(2);
    expect((await viewerOf(limited)).projects).toEqual([
      { id: one, name: 'One' },
      { id: two, name: 'Two' },
    ]);
    expect(await refusal(create(limited, 'Four'))).toMatchObject({ code: 'FORBIDDEN' });
    expect((await listProjects(client)).map(({ name }) => name)).toEqual([
      'One',
      'Test project',
      'Three',
      'Two',
    ]);
    expect(await refusal(rename(limited, three, 'Third'))).toMatchObject({ code: 'FORBIDDEN' });
  });

  test('cannot learn the names or the existence of hidden projects', async () => {
    const organisation = await server.newOrganisation();
    const { client, newProject } = organisation;
    const [mine, hidden] = [await newProject('Mine'), await newProject('Hidden')];
    const { key } = await createKey(client, { projectIds: [mine] });
    const limited = server.clientFor(key);
    const answers = [
      // The name of a hidden project, an unused name, and the project's own name.
      rename(limited, mine, 'Hidden'),
      rename(limited, mine, 'Free'),
      rename(limited, mine, 'Mine'),
      // A hidden project and one that does not exist.
      rename(limited, hidden, 'Free'),
      rename(limited, randomUUID(), 'Free'),
      create(limited, 'Hidden'),
      create(limited, 'Free'),
    ];
    const refusals = await Promise.all(answers.map(refusal));
    for (const each of refusals) expect(each).toEqual(refusals[0]);
    expect(refusals[0]).toMatchObject({ code: 'FORBIDDEN' });
    const granting = [hidden, randomUUID()].map((id) => createKey(limited, { projectIds: [id] }));
    const [one, two] = await Promise.all(granting.map(refusal));
    expect(one).toEqual(two);
    // Neither do the refusals of an unlimited administrator in this project.
    await refusal(rename(client, mine, 'Hidden'));
    const { auditEvents } = await limited.request<{ auditEvents: { nodes: object[] } }>(
      '{ auditEvents { nodes { action outcome targetName } } }',
    );
    expect(auditEvents.nodes[0]).toEqual({
      action: 'RENAME_PROJECT',
      outcome: 'NAME_TAKEN',
      targetName: null,
    });
    expect((await listAuditEvents(client)).at(-1)).toMatchObject({ targetName: 'Hidden' });
  });

  test('requires access:admin to create or rename projects', async () => {
    const organisation = await server.newOrganisation();
    const reader = server.clientFor(await organisation.newKey(['connections:read', 'connections:write']));
    expect(await refusal(create(reader, 'x'))).toMatchObject({ code: 'FORBIDDEN' });
    expect(await refusal(rename(reader, organisation.projectId, 'x'))).toMatchObject({ code: 'FORBIDDEN' });
    expect(await listProjects(reader)).toHaveLength(1);
    const auditor = server.clientFor(await organisation.newKey(['audit:read']));
    expect(await refusal(listProjects(auditor))).toMatchObject({ code: 'FORBIDDEN' });
  });
});

describe('viewer query', () => {
  test('returns the caller without any scope, and nothing of other callers', async () => {
    const organisation = await server.newOrganisation();
    const { client, orgId } = organisation;
    const whole = await viewerOf(client);
    expect(whole).toMatchObject({
      organisation: { id: orgId, name: 'Test organisation' },
      ...{ subject: null, projects: null, expiresAt: null },
      apiKey: { name: 'Administrator', scopes: whole.scopes, projectIds: null },
    });
    const key = await organisation.newKey(['connections:verify']);
    const viewer = await viewerOf(server.clientFor(key));
    expect(viewer).toMatchObject({ scopes: ['CONNECTIONS_VERIFY'], apiKey: { name: 'Another' } });
    expect(viewer.apiKey?.id).not.toBe(whole.apiKey?.id);
  });
});
