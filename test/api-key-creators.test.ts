import { gql } from 'graphql-request';
import { describe, expect, it } from 'vitest';
import { checkChain, createKey, keysOf, listAuditEvents, revokeKey } from './testkit/access.ts';
import { useServerWithOidc } from './testkit/oidc-server.ts';
import { at, restClient } from './testkit/rest.ts';
import { errorsOf, type TestServer } from './testkit/server.ts';

const oidc = useServerWithOidc();

const revokeMutation = gql`
  mutation ($id: UUID!, $andWhatItMade: Boolean! = true) {
    revokeApiKey(id: $id, andWhatItMade: $andWhatItMade) {
      apiKey { id revokedAt } revokedApiKeys { name revokedAt }
    }
  }
`;

/** The response of a revocation. */
interface RevokeResponse {
  revokeApiKey: { apiKey: { id: string; revokedAt: string }; revokedApiKeys: { name: string }[] };
}

/** Creates lines of keys. The administrator creates the first key of a line, and each key creates the next. */
async function createKeys(...lines: string[][]) {
  const organisation = await oidc.server.newOrganisation();
  const keys: Record<string, { key: string; id: string }> = {};
  for (const line of lines) {
    let client = organisation.client;
    for (const name of line) {
      const known = keys[name];
      const { key, apiKey } = known ? { ...known, apiKey: known } : await createKey(client, { name });
      keys[name] = { key, id: apiKey.id };
      client = oidc.server.clientFor(key);
    }
  }
  const getId = (name: string) => keys[name]?.id ?? '';
  const getClient = (name: string) => oidc.server.clientFor(keys[name]?.key ?? '');
  const listActiveNames = async () => (await keysOf(organisation.client)).map(({ name }) => name).sort();
  const revoke = async (id: string, client = organisation.client) =>
    (await client.request<RevokeResponse>(revokeMutation, { id })).revokeApiKey;
  return { ...organisation, getId, getClient, listActiveNames, revoke };
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
    const { client, projectId } = await oidc.server.newOrganisation();
    const projectIds = [projectId];
    const limited = await createKey(client, { name: 'limited', projectIds });
    const limitedClient = oidc.server.clientFor(limited.key);
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
    expect(await creators(oidc.server.clientFor(own.key))).toMatchObject({
      own: byLimited,
      viewer: byLimited,
    });
    expect(await creators(client)).toMatchObject({ limited: expect.stringMatching(/^key:/), own: byLimited });

    const rest = restClient(oidc.server.url, limited.key);
    const revoked = await rest('POST', `/api/v1/api-keys/${limited.apiKey.id}/revoke`);
    expect(at(JSON.parse(revoked.text), 'apiKey', 'createdBy')).toBeNull();
  });

  it('is the key that created it, and null for the first key', async () => {
    const { client, getId } = await createKeys(['a', 'b']);
    const { apiKeys } = await client.request<{
      apiKeys: { nodes: { name: string; createdBy: string | null }[] };
    }>('{ apiKeys { nodes { name createdBy } } }');
    const administrator = (await keysOf(client)).find(({ name }) => name === 'Administrator');
    expect(apiKeys.nodes.sort((one, other) => one.name.localeCompare(other.name))).toEqual([
      { name: 'a', createdBy: `key:${administrator?.id}` },
      { name: 'Administrator', createdBy: null },
      { name: 'b', createdBy: `key:${getId('a')}` },
    ]);
  });
});

describe('revoking an API key', () => {
  it('keeps the keys that it created by default', async () => {
    const { client, getId, getClient } = await createKeys(['stolen', 'made by the thief']);
    await revokeKey(client, getId('stolen'));
    expect(await isAuthenticated(getClient('stolen'))).toBe(false);
    expect(await isAuthenticated(getClient('made by the thief'))).toBe(true);
  });

  it('revokes all descendants and nothing else with andWhatItMade, with an audit event for each', async () => {
    const keys = await createKeys(['a', 'b', 'c', 'd'], ['a', 'b2'], ['other', 'other child']);
    const result = await keys.revoke(keys.getId('a'));
    expect(result.apiKey).toEqual({ id: keys.getId('a'), revokedAt: expect.any(String) });
    expect(result.revokedApiKeys.map(({ name }) => name).sort()).toEqual(['a', 'b', 'b2', 'c', 'd']);
    for (const name of ['a', 'b', 'b2', 'c', 'd'])
      expect(await isAuthenticated(keys.getClient(name))).toBe(false);
    expect(await keys.listActiveNames()).toEqual(['Administrator', 'other', 'other child']);
    const events = (await listAuditEvents(keys.client)).filter(({ action }) => action === 'REVOKE_API_KEY');
    expect(events.map(({ targetName, outcome }) => [targetName, outcome]).sort()).toEqual(
      ['a', 'b', 'b2', 'c', 'd'].map((name) => [name, 'OK']),
    );
    expect(await checkChain(oidc.server, keys.orgId)).toHaveProperty('events');
  });

  it('revokes the remaining descendants of a key that is already revoked', async () => {
    const keys = await createKeys(['a', 'b', 'c']);
    await revokeKey(keys.client, keys.getId('a'));
    await revokeKey(keys.client, keys.getId('b'));
    const result = await keys.revoke(keys.getId('a'));
    expect(result.revokedApiKeys.map(({ name }) => name)).toEqual(['c']);
    expect(await keys.listActiveNames()).toEqual(['Administrator']);
    expect((await keys.revoke(keys.getId('a'))).revokedApiKeys).toEqual([]);
  });

  it('fails as a whole when no administrator would remain', async () => {
    const keys = await createKeys(['a', 'b']);
    const administrator = (await keysOf(keys.client)).find(({ name }) => name === 'Administrator');
    const [error] = await errorsOf(keys.revoke(administrator?.id ?? ''));
    expect(error?.extensions.code).toBe('LAST_ADMINISTRATOR');
    expect(await keys.listActiveNames()).toEqual(['Administrator', 'a', 'b']);
    const { revokedApiKeys } = await keys.revoke(keys.getId('a'));
    expect(revokedApiKeys).toHaveLength(2);
  });

  it('revokes the calling key when it is a descendant', async () => {
    const keys = await createKeys(['a', 'b']);
    const { revokedApiKeys } = await keys.revoke(keys.getId('a'), keys.getClient('b'));
    expect(revokedApiKeys).toHaveLength(2);
    expect(await isAuthenticated(keys.getClient('b'))).toBe(false);
    expect(await keys.listActiveNames()).toEqual(['Administrator']);
  });

  it('revokes descendants that are created concurrently', async () => {
    const keys = await createKeys(['thief']);
    const thief = keys.getClient('thief');
    const creations = Array.from({ length: 12 }, (_, index) => createKey(thief, { name: `made ${index}` }));
    const outcomes = Promise.allSettled(creations);
    await keys.revoke(keys.getId('thief'));
    const [fulfilled] = [(await outcomes).filter(({ status }) => status === 'fulfilled')];
    expect(await keys.listActiveNames()).toEqual(['Administrator']);
    expect(fulfilled?.length).toBeLessThanOrEqual(12);
  });

  it('fails while a row of the chain of creators is tampered with in the database', async () => {
    const keys = await createKeys(['thief', 'link', 'hidden']);
    const changes = [
      [`created_by = null`, `created_by = 'key:${keys.getId('thief')}'`],
      [`name = 'x'`, `name = 'link'`],
      [`expires_at = now() - interval '1 day'`, 'expires_at = null'],
      [`revoked_at = now()`, 'revoked_at = null'],
    ];
    const change = (set: string) =>
      oidc.server.asOwner().execute(`update api_key set ${set} where id = ?`, [keys.getId('link')]);
    for (const [forge = '', restore = ''] of changes) {
      await change(forge);
      const [error] = await errorsOf(keys.revoke(keys.getId('thief')));
      expect([forge, error?.extensions.code]).toEqual([forge, 'INTERNAL_SERVER_ERROR']);
      await change(restore);
      expect(await keys.listActiveNames()).toEqual(['Administrator', 'hidden', 'link', 'thief']);
    }
    expect((await keys.revoke(keys.getId('thief'))).revokedApiKeys).toHaveLength(3);
  });

  it('revokes descendants whose creator was deleted in the database', async () => {
    const keys = await createKeys(['thief', 'link', 'hidden']);
    await oidc.server.asOwner().execute('delete from api_key where id = ?', [keys.getId('link')]);
    await keys.revoke(keys.getId('thief'));
    expect(await keys.listActiveNames()).toEqual(['Administrator']);
  });

  it('revokes descendants over REST as over GraphQL', async () => {
    const keys = await createKeys(['a', 'b']);
    const administrator = restClient(oidc.server.url, keys.apiKey);
    const listed = await administrator('GET', '/api/v1/api-keys?limit=1');
    expect(at(listed.body, 'apiKeys', 0, 'createdBy')).toBe(`key:${keys.getId('a')}`);
    const path = `/api/v1/api-keys/${keys.getId('a')}/revoke`;
    const { status, body } = await administrator('POST', `${path}?andWhatItMade=true`);
    expect([status, at(body, 'apiKey', 'id')]).toEqual([200, keys.getId('a')]);
    expect([at(body, 'revokedApiKeys', 0, 'name'), at(body, 'revokedApiKeys', 1, 'name')]).toEqual([
      'a',
      'b',
    ]);
    expect(await keys.listActiveNames()).toEqual(['Administrator']);
  });

  it('fails with NOT_FOUND for keys of other organisations or projects', async () => {
    const [mine, theirs] = [await createKeys(['a']), await createKeys(['b', 'c'])];
    expect((await errorsOf(mine.revoke(theirs.getId('b'))))[0]?.extensions.code).toBe('NOT_FOUND');
    const { key } = await createKey(theirs.client, { name: 'limited', projectIds: [theirs.projectId] });
    const limited = oidc.server.clientFor(key);
    expect((await errorsOf(theirs.revoke(theirs.getId('b'), limited)))[0]?.extensions.code).toBe('NOT_FOUND');
    expect(await theirs.listActiveNames()).toEqual(['Administrator', 'b', 'c', 'limited']);
  });
});

describe('the creator of an API key created with a token', () => {
  it('is the subject of the token of the identity provider', async () => {
    const { client, orgId } = await oidc.server.newOrganisation();
    const token = await oidc.provider.issue('robot', 'access:admin connections:read', { org: orgId });
    await createKey(oidc.server.clientFor(token), { name: 'made by a robot', scopes: ['CONNECTIONS_READ'] });
    const { apiKeys } = await client.request<{ apiKeys: { nodes: unknown[] } }>(
      '{ apiKeys(first: 1) { nodes { name createdBy } } }',
    );
    expect(apiKeys.nodes).toEqual([{ name: 'made by a robot', createdBy: 'subject:robot' }]);
  });
});
