import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addApiKey, generateApiKey } from '../src/auth/api-keys.ts';
import { ApiKey } from '../src/identity/api-key.entity.ts';
import {
  createKey,
  createKeyMutation,
  everyScope,
  type KeyFields,
  keysOf,
  keysQuery,
  listAllPages,
  type Paged,
  projectsQuery,
  revokeKey,
  revokeKeyMutation,
  viewerOf,
} from './testkit/access.ts';
import { until } from './testkit/process.ts';
import { foundIn } from './testkit/secret-scan.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const inAnHour = () => new Date(Date.now() + 3_600_000);

describe('an API key', () => {
  it('is created with the given name, scopes, projects and expiry', async () => {
    const { client, projectId } = await server.newOrganisation();
    const expiresAt = inAnHour().toISOString();
    const { key, apiKey } = await createKey(client, {
      name: '  Nightly import  ',
      scopes: ['CONNECTIONS_READ', 'AUDIT_READ'],
      projectIds: [projectId],
      expiresAt,
    });
    expect(apiKey).toEqual({
      id: expect.any(String),
      name: 'Nightly import',
      scopes: ['CONNECTIONS_READ', 'AUDIT_READ'],
      projectIds: [projectId],
      connectionIds: null,
      createdAt: expect.any(String),
      expiresAt,
      revokedAt: null,
      lastUsedAt: null,
    });
    expect(await keysOf(client)).toContainEqual(apiKey);
    const viewer = await viewerOf(server.clientFor(key));
    expect(viewer).toMatchObject({
      scopes: ['CONNECTIONS_READ', 'AUDIT_READ'],
      projects: [{ id: projectId, name: 'Test project' }],
      expiresAt,
      subject: null,
      apiKey: { ...apiKey, lastUsedAt: expect.any(String) },
    });
  });

  it('stops authenticating when it expires, even while in use', async () => {
    const { client } = await server.newOrganisation();
    const expiresAt = new Date(Date.now() + 3_000);
    const { key } = await createKey(client, { expiresAt });
    const holder = server.clientFor(key);
    const refusal = await until('the key has expired', async () => {
      const requestedAt = new Date();
      const outcome = await viewerOf(holder).catch(() => errorsOf(viewerOf(holder)));
      if (Array.isArray(outcome)) return outcome[0];
      expect(requestedAt < expiresAt).toBe(true);
      return undefined;
    });
    expect(new Date() >= expiresAt).toBe(true);
    expect(refusal).toMatchObject({
      message: 'This API key has expired.',
      extensions: { code: 'UNAUTHENTICATED' },
    });
  });

  it('appears in the response that creates it, and in no list, log, audit event or row', async () => {
    const { client, apiKey: administrator } = await server.newOrganisation();
    const send = async (key: string, query: string, variables: object = {}) => {
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
      const body = JSON.stringify({ query, variables });
      const response = await fetch(server.graphqlUrl, { method: 'POST', headers, body });
      return JSON.stringify([...response.headers]) + (await response.text());
    };
    const created = await send(administrator, createKeyMutation, {
      input: { name: 'Planted', scopes: everyScope },
    });
    const [key = ''] = /ack_\w+/.exec(created) ?? [];
    const [planted] = await keysOf(client);
    // The search works: it finds the key in this response, once.
    expect(foundIn(created, [key])).toEqual([key]);
    expect(created.split(key)).toHaveLength(2);

    let responses = '';
    const everything = '{ id name scopes projectIds connectionIds createdAt expiresAt revokedAt lastUsedAt }';
    const reading = `{
      viewer { subject apiKey ${everything} }
      apiKeys(includeRevoked: true) { nodes ${everything} }
      auditEvents { nodes { action keyId apiKeyId targetName changedFields address requestId } }
    }`;
    for (const holder of [key, administrator]) responses += await send(holder, reading);
    responses += await send(key, '{ nothing }');
    responses += await send(`${key}x`, reading);
    responses += await send(administrator, revokeKeyMutation, { id: planted?.id });
    for (const holder of [key, administrator]) responses += await send(holder, reading);
    responses += await send(administrator, `{ apiKeys(after: "${key}") { nodes { id } } }`);
    responses += await send(administrator, `mutation { revokeApiKey(id: "${key}") { apiKey { id } } }`);
    expect(responses).toContain('Planted');
    expect(foundIn(responses, [key])).toEqual([]);
    expect(server.logs()).toContain(planted?.id);
    expect(foundIn(server.logs(), [key])).toEqual([]);
    const dump = await server.dump();
    expect(dump).toContain('Planted');
    expect(foundIn(dump, [key])).toEqual([]);
  });

  it('is rejected with one issue for each broken rule, each with its path', async () => {
    const { client } = await server.newOrganisation();
    const [error] = await errorsOf(
      createKey(client, { name: ' ', scopes: [], projectIds: [], expiresAt: '2001-01-01T00:00:00Z' }),
    );
    expect(error?.extensions.code).toBe('BAD_USER_INPUT');
    expect(error?.extensions.issues?.map(({ path }) => path)).toEqual([
      ['input', 'name'],
      ['input', 'scopes'],
      ['input', 'projectIds'],
      ['input', 'expiresAt'],
    ]);
  });

  it.each([
    ['a name of 65 characters', { name: 'x'.repeat(65) }, ['input', 'name']],
    ['a name with a line break', { name: 'a\nb' }, ['input', 'name']],
    ['a name with a line separator', { name: 'a\u2028b' }, ['input', 'name']],
    ['a name with a paragraph separator', { name: 'a\u2029b' }, ['input', 'name']],
    ['a name with a right-to-left override', { name: 'a\u202eb' }, ['input', 'name']],
    ['a name with an invisible character', { name: 'a\u200bb' }, ['input', 'name']],
    ['a name with a NUL', { name: 'a\0b' }, ['input', 'name']],
    ['a name with an unpaired surrogate', { name: 'a\ud800b' }, ['input', 'name']],
    ['a scope too many', { scopes: [...everyScope, 'AUDIT_READ'] }, ['input', 'scopes']],
    ['101 projects', { projectIds: Array.from({ length: 101 }, randomUUID) }, ['input', 'projectIds']],
    ['no connections', { connectionIds: [] }, ['input', 'connectionIds']],
    [
      '101 connections',
      { connectionIds: Array.from({ length: 101 }, randomUUID) },
      ['input', 'connectionIds'],
    ],
    ['an expiry in the year 10000', { expiresAt: '9999-12-31T23:59:59-23:59' }, ['input', 'expiresAt']],
  ])('is rejected with %s', async (_, differing, path) => {
    const { client } = await server.newOrganisation();
    const [error, ...others] = await errorsOf(createKey(client, differing));
    expect(others).toEqual([]);
    expect(error?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path }] });
    expect(await keysOf(client)).toHaveLength(1);
  });

  it('may have a name of 64 characters of any script and duplicate scopes and projects', async () => {
    const { client, projectId } = await server.newOrganisation();
    for (const name of ['😀'.repeat(64), 'ключ', 'e\u0301'.repeat(64)]) {
      expect((await createKey(client, { name })).apiKey.name).toBe(name.normalize('NFC'));
    }
    const { apiKey } = await createKey(client, {
      scopes: ['AUDIT_READ', 'AUDIT_READ', 'ACCESS_ADMIN'],
      projectIds: [projectId, projectId.toUpperCase()],
    });
    expect(apiKey).toMatchObject({ scopes: ['AUDIT_READ', 'ACCESS_ADMIN'], projectIds: [projectId] });
  });
});

describe('granting more than the calling key holds', () => {
  /** Returns the error of a rejected create, and checks that no key was created. */
  async function refusal(organisation: TestOrganisation, key: string, input: Record<string, unknown>) {
    const before = await keysOf(organisation.client, true);
    const [error] = await errorsOf(createKey(server.clientFor(key), input));
    const after = await keysOf(organisation.client, true);
    expect(after.map(({ id }) => id)).toEqual(before.map(({ id }) => id));
    return { code: error?.extensions.code, paths: error?.extensions.issues?.map(({ path }) => path) };
  }

  it('rejects each scope that the calling key lacks, by its index', async () => {
    const organisation = await server.newOrganisation();
    const key = await organisation.newKey(['access:admin', 'connections:read']);
    const scopes = ['CONNECTIONS_READ', 'CONNECTIONS_READ', 'AUDIT_READ', 'ACCESS_ADMIN', 'AUDIT_READ'];
    expect(await refusal(organisation, key, { scopes })).toEqual({
      code: 'FORBIDDEN',
      paths: [
        ['input', 'scopes', 2],
        ['input', 'scopes', 4],
      ],
    });
  });

  it('rejects projects of others, and access to all projects', async () => {
    const organisation = await server.newOrganisation();
    const [mine, theirs] = [await organisation.newProject('Mine'), await organisation.newProject('Theirs')];
    const key = await organisation.newKey(['access:admin'], { projectIds: [mine] });
    const scopes = ['ACCESS_ADMIN'];
    // A project of others looks like an unknown one.
    const projectIds = [mine, theirs, mine, randomUUID()];
    expect(await refusal(organisation, key, { scopes, projectIds })).toEqual({
      code: 'FORBIDDEN',
      paths: [
        ['input', 'projectIds', 1],
        ['input', 'projectIds', 3],
      ],
    });
    for (const everywhere of [{}, { projectIds: null }]) {
      expect(await refusal(organisation, key, { scopes, ...everywhere })).toEqual({
        code: 'FORBIDDEN',
        paths: [['input', 'projectIds']],
      });
    }
  });

  it('rejects an expiry after that of the calling key', async () => {
    const organisation = await server.newOrganisation();
    const expiresAt = inAnHour();
    const key = await organisation.newKey(['access:admin'], { expiresAt });
    const scopes = ['ACCESS_ADMIN'];
    for (const end of [undefined, null, new Date(expiresAt.getTime() + 1).toISOString()]) {
      expect(await refusal(organisation, key, { scopes, expiresAt: end })).toEqual({
        code: 'FORBIDDEN',
        paths: [['input', 'expiresAt']],
      });
    }
  });

  it('reports all violations at once', async () => {
    const organisation = await server.newOrganisation();
    const { projectId } = organisation;
    const limits = { projectIds: [projectId], expiresAt: inAnHour() };
    const key = await organisation.newKey(['access:admin'], limits);
    expect(await refusal(organisation, key, { scopes: ['AUDIT_READ', 'ACCESS_ADMIN'] })).toEqual({
      code: 'FORBIDDEN',
      paths: [
        ['input', 'scopes', 0],
        ['input', 'projectIds'],
        ['input', 'expiresAt'],
      ],
    });
  });

  it('allows everything that the calling key holds', async () => {
    const organisation = await server.newOrganisation();
    const { projectId, newProject } = organisation;
    const limits = { projectIds: [projectId, await newProject('Second')], expiresAt: inAnHour() };
    const key = await organisation.newKey(['access:admin', 'audit:read'], limits);
    const granted = {
      scopes: ['ACCESS_ADMIN', 'AUDIT_READ'],
      projectIds: limits.projectIds,
      expiresAt: limits.expiresAt.toISOString(),
    };
    const created = await createKey(server.clientFor(key), granted);
    expect(created.apiKey).toMatchObject(granted);
    // The new key can grant its own permissions.
    const less = { ...granted, scopes: ['AUDIT_READ'], projectIds: [projectId] };
    expect((await createKey(server.clientFor(created.key), less)).apiKey).toMatchObject(less);
  });

  it('rejects an unknown project by its index', async () => {
    const organisation = await server.newOrganisation();
    const { apiKey, projectId } = organisation;
    const elsewhere = (await server.newOrganisation()).projectId;
    const projectIds = [projectId, elsewhere, randomUUID()];
    expect(await refusal(organisation, apiKey, { projectIds })).toEqual({
      code: 'NOT_FOUND',
      paths: [
        ['input', 'projectIds', 1],
        ['input', 'projectIds', 2],
      ],
    });
  });

  it('rejects every operation on keys without access:admin', async () => {
    const organisation = await server.newOrganisation();
    const key = await organisation.newKey(['connections:read', 'audit:read']);
    const { code } = await refusal(organisation, key, { scopes: ['CONNECTIONS_READ'] });
    expect(code).toBe('FORBIDDEN');
    const holder = server.clientFor(key);
    const [{ id } = { id: '' }] = await keysOf(organisation.client);
    // Started one at a time: a request that fails before something awaits it is an unhandled rejection.
    for (const send of [() => revokeKey(holder, id), () => keysOf(holder)]) {
      expect((await errorsOf(send()))[0]?.extensions.code).toBe('FORBIDDEN');
    }
  });
});

describe('listing API keys', () => {
  it('returns each key once in order, also when many were created at the same time', async () => {
    const { client, orgId } = await server.newOrganisation();
    const em = server.asOwner();
    const moments = ['2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.001Z'].map((text) => new Date(text));
    for (let i = 0; i < 24; i += 1) {
      const scopes = ['connections:read'] as const;
      const apiKey = addApiKey(em, { orgId, name: `Key ${i}`, key: generateApiKey(), scopes });
      apiKey.createdAt = moments[i % 3 === 0 ? 1 : 0] ?? new Date();
      apiKey.revokedAt = i % 4 === 0 ? new Date() : null;
    }
    await em.flush();
    for (const includeRevoked of [true, false]) {
      for (const first of [1, 7, 8, 25, 100]) {
        const pages = await listAllPages<KeyFields>(client, keysQuery, { first, includeRevoked });
        const listed = pages.flat();
        expect(listed).toHaveLength(includeRevoked ? 25 : 19);
        expect(new Set(listed.map(({ id }) => id)).size).toBe(listed.length);
        expect(listed.filter(({ revokedAt }) => revokedAt)).toHaveLength(includeRevoked ? 6 : 0);
        const inOrder = listed.toSorted((a, b) => {
          const [one, other] = [a, b].map(({ createdAt, id }) => `${createdAt} ${id}`);
          return (one ?? '') < (other ?? '') ? 1 : -1;
        });
        expect(listed).toEqual(inOrder);
        expect(pages.slice(0, -1).every(({ length }) => length === first)).toBe(true);
        expect(pages.at(-1)?.length).toBeGreaterThan(0);
      }
    }
  });

  it('accepts its own cursors only', async () => {
    const { client, projectId } = await server.newOrganisation();
    const cursor = async (query: string) =>
      (await client.request<Paged<object>>(query)).page.pageInfo.endCursor;
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const [own, ofProjects] = [await cursor(keysQuery), await cursor(projectsQuery)];
    const cursors = [
      '',
      'nonsense',
      ofProjects,
      encode(['apiKeys', 'Test project', projectId]),
      encode(['apiKeys', '2026-01-01', projectId]),
      encode(['apiKeys', '-100000-01-01T00:00:00.000Z', projectId]),
      encode(['apiKeys', '+275000-01-01T00:00:00.000Z', projectId]),
      encode(['apiKeys', '2026-01-01T00:00:00.000Z', "' or true --"]),
      encode(['projects', '2026-01-01T00:00:00.000Z', projectId]),
      encode({ list: 'apiKeys' }),
      Buffer.from(`${projectId} 2026-01-01T00:00:00.000Z`).toString('base64url'),
    ];
    for (const after of cursors) {
      const [error] = await errorsOf(client.request(keysQuery, { after }));
      expect([after, error?.extensions.code, error?.extensions.issues?.[0]?.path]).toEqual([
        after,
        'BAD_USER_INPUT',
        ['after'],
      ]);
    }
    expect((await client.request<Paged<KeyFields>>(keysQuery, { after: own })).page.nodes).toEqual([]);
    for (const first of [0, 101, -1]) {
      const [error] = await errorsOf(client.request(keysQuery, { first }));
      expect(error?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path: ['first'] }] });
    }
  });

  it('shows a project administrator the keys of those projects, and allows revoking no others', async () => {
    const organisation = await server.newOrganisation();
    const { client, newProject } = organisation;
    const [one, two, three] = [await newProject('One'), await newProject('Two'), await newProject('Three')];
    const scopes = ['CONNECTIONS_READ'];
    const create = async (name: string, projectIds?: string[]) =>
      (await createKey(client, { name, scopes, projectIds })).apiKey.id;
    const visible = [await create('one', [one]), await create('both', [two, one])];
    const hidden = [
      await create('everywhere'),
      await create('another', [three]),
      await create('more', [one, three]),
    ];
    const limited = await createKey(client, { name: 'limited', projectIds: [one, two] });
    const administrator = server.clientFor(limited.key);
    expect((await keysOf(administrator)).map(({ id }) => id).toSorted()).toEqual(
      [...visible, limited.apiKey.id].toSorted(),
    );
    for (const id of hidden) {
      const [error] = await errorsOf(revokeKey(administrator, id));
      expect(error?.extensions.code).toBe('NOT_FOUND');
    }
    for (const id of visible)
      expect((await revokeKey(administrator, id)).revokedAt).toEqual(expect.any(String));
    expect((await keysOf(client)).map(({ name }) => name).toSorted()).toEqual(
      ['Administrator', 'another', 'everywhere', 'limited', 'more'].toSorted(),
    );
    expect(
      await server.asOwner().count(ApiKey, { orgId: organisation.orgId, revokedAt: { $ne: null } }),
    ).toBe(2);
  });
});
