import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkChain, createKey, eventsOf, keysOf, revokeKey } from './testkit/access.ts';
import { startProvider, type TestProvider } from './testkit/oidc.ts';
import { at, restClient } from './testkit/rest.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

let provider: TestProvider;
let server: TestServer;
beforeAll(async () => {
  provider = await startProvider();
  server = await startTestServer({ config: provider.settings() });
});
afterAll(async () => {
  await server.close();
  await provider.stop();
});

const revokeMutation = gql`
  mutation ($id: UUID!, $andWhatItMade: Boolean! = true) {
    revokeApiKey(id: $id, andWhatItMade: $andWhatItMade) {
      apiKey { id revokedAt } revokedApiKeys { name revokedAt }
    }
  }
`;

/** What a revocation answers with. */
interface Revoked {
  revokeApiKey: { apiKey: { id: string; revokedAt: string }; revokedApiKeys: { name: string }[] };
}

/** Keys by name, each made by the one before it in its line, the first by the administrator. */
async function makeKeys(...lines: string[][]) {
  const organisation = await server.newOrganisation();
  const made: Record<string, { key: string; id: string }> = {};
  for (const line of lines) {
    let client = organisation.client;
    for (const name of line) {
      const known = made[name];
      const { key, apiKey } = known ? { ...known, apiKey: known } : await createKey(client, { name });
      made[name] = { key, id: apiKey.id };
      client = server.clientFor(key);
    }
  }
  const idOf = (name: string) => made[name]?.id ?? '';
  const clientOf = (name: string) => server.clientFor(made[name]?.key ?? '');
  const namesInForce = async () => (await keysOf(organisation.client)).map(({ name }) => name).sort();
  const revoke = async (id: string, client = organisation.client) =>
    (await client.request<Revoked>(revokeMutation, { id })).revokeApiKey;
  return { ...organisation, idOf, clientOf, namesInForce, revoke };
}

/** Returns true if the client can authenticate. */
async function isAuthenticated(client: ReturnType<TestServer['clientFor']>): Promise<boolean> {
  return client.request('{ viewer { subject } }').then(
    () => true,
    () => false,
  );
}

describe('the creator of an API key', () => {
  it('is hidden from a caller limited to projects that cannot see the creating key', async () => {
    const { client, projectId } = await server.newOrganisation();
    const projectIds = [projectId];
    const limited = await createKey(client, { name: 'limited', projectIds });
    const limitedClient = server.clientFor(limited.key);
    const own = await createKey(limitedClient, { name: 'own', projectIds });
    const creators = async (each: typeof client) => {
      const { apiKeys, viewer } = await each.request<{
        apiKeys: { nodes: { name: string; createdBy: string | null }[] };
        viewer: { apiKey: { createdBy: string | null } };
      }>('{ apiKeys { nodes { name createdBy } } viewer { apiKey { createdBy } } }');
      const byName = Object.fromEntries(apiKeys.nodes.map(({ name, createdBy }) => [name, createdBy]));
      return { ...byName, viewer: viewer.apiKey.createdBy };
    };
    const byLimited = `key:${limited.apiKey.id}`;
    expect(await creators(limitedClient)).toEqual({ limited: null, own: byLimited, viewer: null });
    expect(await creators(server.clientFor(own.key))).toMatchObject({ own: byLimited, viewer: byLimited });
    expect(await creators(client)).toMatchObject({ limited: expect.stringMatching(/^key:/), own: byLimited });

    const rest = restClient(server.url, limited.key);
    const revoked = await rest('POST', `/api/v1/api-keys/${limited.apiKey.id}/revoke`);
    expect(at(JSON.parse(revoked.text), 'apiKey', 'createdBy')).toBeNull();
  });

  it('is the key that created it, and null for the first key', async () => {
    const { client, idOf } = await makeKeys(['a', 'b']);
    const { apiKeys } = await client.request<{
      apiKeys: { nodes: { name: string; createdBy: string | null }[] };
    }>('{ apiKeys { nodes { name createdBy } } }');
    const administrator = (await keysOf(client)).find(({ name }) => name === 'Administrator');
    expect(apiKeys.nodes.sort((one, other) => one.name.localeCompare(other.name))).toEqual([
      { name: 'a', createdBy: `key:${administrator?.id}` },
      { name: 'Administrator', createdBy: null },
      { name: 'b', createdBy: `key:${idOf('a')}` },
    ]);
  });
});

describe('revoking an API key', () => {
  it('keeps the keys that it created by default', async () => {
    const { client, idOf, clientOf } = await makeKeys(['stolen', 'made by the thief']);
    await revokeKey(client, idOf('stolen'));
    expect(await isAuthenticated(clientOf('stolen'))).toBe(false);
    expect(await isAuthenticated(clientOf('made by the thief'))).toBe(true);
  });

  it('revokes all descendants and nothing else with andWhatItMade, with an audit event for each', async () => {
    const made = await makeKeys(['a', 'b', 'c', 'd'], ['a', 'b2'], ['other', 'other child']);
    const answer = await made.revoke(made.idOf('a'));
    expect(answer.apiKey).toEqual({ id: made.idOf('a'), revokedAt: expect.any(String) });
    expect(answer.revokedApiKeys.map(({ name }) => name).sort()).toEqual(['a', 'b', 'b2', 'c', 'd']);
    for (const name of ['a', 'b', 'b2', 'c', 'd'])
      expect(await isAuthenticated(made.clientOf(name))).toBe(false);
    expect(await made.namesInForce()).toEqual(['Administrator', 'other', 'other child']);
    const events = (await eventsOf(made.client)).filter(({ action }) => action === 'REVOKE_API_KEY');
    expect(events.map(({ targetName, outcome }) => [targetName, outcome]).sort()).toEqual(
      ['a', 'b', 'b2', 'c', 'd'].map((name) => [name, 'OK']),
    );
    expect(await checkChain(server, made.orgId)).toHaveProperty('events');
  });

  it('revokes the remaining descendants of a key that is already revoked', async () => {
    const made = await makeKeys(['a', 'b', 'c']);
    await revokeKey(made.client, made.idOf('a'));
    await revokeKey(made.client, made.idOf('b'));
    const answer = await made.revoke(made.idOf('a'));
    expect(answer.revokedApiKeys.map(({ name }) => name)).toEqual(['c']);
    expect(await made.namesInForce()).toEqual(['Administrator']);
    expect((await made.revoke(made.idOf('a'))).revokedApiKeys).toEqual([]);
  });

  it('fails as a whole when no administrator would remain', async () => {
    const made = await makeKeys(['a', 'b']);
    const administrator = (await keysOf(made.client)).find(({ name }) => name === 'Administrator');
    const [error] = await errorsOf(made.revoke(administrator?.id ?? ''));
    expect(error?.extensions.code).toBe('LAST_ADMINISTRATOR');
    expect(await made.namesInForce()).toEqual(['Administrator', 'a', 'b']);
    const { revokedApiKeys } = await made.revoke(made.idOf('a'));
    expect(revokedApiKeys).toHaveLength(2);
  });

  it('revokes the calling key when it is a descendant', async () => {
    const made = await makeKeys(['a', 'b']);
    const { revokedApiKeys } = await made.revoke(made.idOf('a'), made.clientOf('b'));
    expect(revokedApiKeys).toHaveLength(2);
    expect(await isAuthenticated(made.clientOf('b'))).toBe(false);
    expect(await made.namesInForce()).toEqual(['Administrator']);
  });

  it('revokes descendants that are created concurrently', async () => {
    const made = await makeKeys(['thief']);
    const thief = made.clientOf('thief');
    const making = Array.from({ length: 12 }, (_, index) => createKey(thief, { name: `made ${index}` }));
    const outcomes = Promise.allSettled(making);
    await made.revoke(made.idOf('thief'));
    const [fulfilled] = [(await outcomes).filter(({ status }) => status === 'fulfilled')];
    expect(await made.namesInForce()).toEqual(['Administrator']);
    expect(fulfilled?.length).toBeLessThanOrEqual(12);
  });

  it('fails while a row of the chain of creators is tampered with in the database', async () => {
    const made = await makeKeys(['thief', 'link', 'hidden']);
    const changes = [
      [`created_by = null`, `created_by = 'key:${made.idOf('thief')}'`],
      [`name = 'x'`, `name = 'link'`],
      [`expires_at = now() - interval '1 day'`, 'expires_at = null'],
      [`revoked_at = now()`, 'revoked_at = null'],
    ];
    const change = (set: string) =>
      server.asOwner().execute(`update api_key set ${set} where id = ?`, [made.idOf('link')]);
    for (const [forge = '', restore = ''] of changes) {
      await change(forge);
      const [error] = await errorsOf(made.revoke(made.idOf('thief')));
      expect([forge, error?.extensions.code]).toEqual([forge, 'INTERNAL_SERVER_ERROR']);
      await change(restore);
      expect(await made.namesInForce()).toEqual(['Administrator', 'hidden', 'link', 'thief']);
    }
    expect((await made.revoke(made.idOf('thief'))).revokedApiKeys).toHaveLength(3);
  });

  it('revokes descendants whose creator was deleted in the database', async () => {
    const made = await makeKeys(['thief', 'link', 'hidden']);
    await server.asOwner().execute('delete from api_key where id = ?', [made.idOf('link')]);
    await made.revoke(made.idOf('thief'));
    expect(await made.namesInForce()).toEqual(['Administrator']);
  });

  it('revokes descendants over REST as over GraphQL', async () => {
    const made = await makeKeys(['a', 'b']);
    const administrator = restClient(server.url, made.apiKey);
    const listed = await administrator('GET', '/api/v1/api-keys?limit=1');
    expect(at(listed.body, 'apiKeys', 0, 'createdBy')).toBe(`key:${made.idOf('a')}`);
    const path = `/api/v1/api-keys/${made.idOf('a')}/revoke`;
    const { status, body } = await administrator('POST', `${path}?andWhatItMade=true`);
    expect([status, at(body, 'apiKey', 'id')]).toEqual([200, made.idOf('a')]);
    expect([at(body, 'revokedApiKeys', 0, 'name'), at(body, 'revokedApiKeys', 1, 'name')]).toEqual([
      'a',
      'b',
    ]);
    expect(await made.namesInForce()).toEqual(['Administrator']);
  });

  it('fails with NOT_FOUND for keys of other organisations or projects', async () => {
    const [mine, theirs] = [await makeKeys(['a']), await makeKeys(['b', 'c'])];
    expect((await errorsOf(mine.revoke(theirs.idOf('b'))))[0]?.extensions.code).toBe('NOT_FOUND');
    const { key } = await createKey(theirs.client, { name: 'limited', projectIds: [theirs.projectId] });
    const limited = server.clientFor(key);
    expect((await errorsOf(theirs.revoke(theirs.idOf('b'), limited)))[0]?.extensions.code).toBe('NOT_FOUND');
    expect(await theirs.namesInForce()).toEqual(['Administrator', 'b', 'c', 'limited']);
  });
});

describe('the creator of an API key created with a token', () => {
  it('is the subject of the token of the identity provider', async () => {
    const { client, orgId } = await server.newOrganisation();
    const token = await provider.issue('robot', 'access:admin connections:read', { org: orgId });
    await createKey(server.clientFor(token), { name: 'made by a robot', scopes: ['CONNECTIONS_READ'] });
    const { apiKeys } = await client.request<{ apiKeys: { nodes: unknown[] } }>(
      '{ apiKeys(first: 1) { nodes { name createdBy } } }',
    );
    expect(apiKeys.nodes).toEqual([{ name: 'made by a robot', createdBy: 'subject:robot' }]);
  });
});
