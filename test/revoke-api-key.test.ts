import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ApiKey } from '../src/identity/api-key.entity.ts';
import { scopes } from '../src/identity/caller.ts';
import { createKey, everyScope, keysOf, listAuditEvents, revokeKey, viewerOf } from './testkit/access.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { createConnection, createMutation, okta } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { at, restClient } from './testkit/rest.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';
import { changeRows } from './testkit/stored-rows.ts';

// A revocation takes effect within seconds, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const watching = 'subscription { appConnectionChanged { eventId kind } }';
const promisedMs = 5_000;

/** Uses a key with every API, and returns `OK` or the error code of each. */
function waysIn({ url, graphqlUrl, clientFor }: TestServer, key: string): (() => Promise<string>)[] {
  const rest = restClient(url, key);
  return [
    () =>
      viewerOf(clientFor(key)).then(
        () => 'OK',
        async () => (await errorsOf(viewerOf(clientFor(key))))[0]?.message ?? 'nothing',
      ),
    async () => {
      const { status, body } = await rest('GET', '/api/v1/app-connections');
      return status === 200 ? 'OK' : `${at(body, 'detail')}`;
    },
    async () => {
      await using changes = await subscribe(graphqlUrl, key, `${watching} # and no more`);
      const change = changes.next();
      // An accepted subscription has no events for now.
      const first = await Promise.race([
        change,
        viewerOf(clientFor(key)).then(
          () => undefined,
          () => change,
        ),
      ]);
      return first === undefined ? 'OK' : `${at(first, 'errors', 0, 'message')}`;
    },
  ];
}

/** Revokes a key on the first server, and measures how long any server still accepts it. */
async function seeOut(organisation: TestOrganisation, servers: readonly TestServer[]): Promise<void> {
  const { key, apiKey } = await createKey(organisation.client);
  const ways = servers.flatMap((each) => waysIn(each, key));
  await using stack = new AsyncDisposableStack();
  const subscriptions = [];
  for (const { graphqlUrl } of servers) {
    subscriptions.push(stack.use(await subscribe(graphqlUrl, key, watching)));
  }
  const ends = subscriptions.map(({ ended }) => ended.then(() => Date.now()));
  for (const way of ways) expect(await way()).toBe('OK');

  const { revokedAt } = await revokeKey(organisation.client, apiKey.id);
  const revoked = Date.now();
  expect(revokedAt).toEqual(expect.any(String));
  for (const way of ways) {
    let lastIn = revoked;
    const why = await until('the key is rejected everywhere', async () => {
      const sentAt = Date.now();
      const answer = await way();
      if (answer === 'OK') lastIn = sentAt;
      return answer === 'OK' ? undefined : answer;
    });
    expect(why).toBe('This API key has been revoked.');
    expect(lastIn - revoked).toBeLessThan(promisedMs);
  }
  for (const subscription of subscriptions) {
    const { errors } = await subscription.next();
    expect(errors?.[0]?.extensions.code).toBe('UNAUTHENTICATED');
  }
  // On a busy machine, the last events may arrive late; they do not matter here.
  for (const end of await Promise.all(ends)) expect(end - revoked).toBeLessThan(2 * promisedMs);
}

describe('revoked API key', () => {
  test('is rejected within five seconds over GraphQL and REST, and its subscriptions end', async () => {
    await seeOut(await server.newOrganisation(), [server]);
  });

  test.runIf(testDatabaseUrl)('is rejected on a second server', async () => {
    const other = await startTestServer({ beside: server });
    await seeOut(await server.newOrganisation(), [server, other]);
    await other.close();
  });

  test('does not change when revoked again, and the audit trail has one event', async () => {
    const { client } = await server.newOrganisation();
    const { apiKey } = await createKey(client);
    const revoked = await revokeKey(client, apiKey.id);
    expect(await revokeKey(client, apiKey.id)).toEqual(revoked);
    const administrator = (await viewerOf(client)).apiKey;
    const kept = await server.asOwner().findOneOrFail(ApiKey, { id: apiKey.id });
    expect(kept.revokedAt?.toISOString()).toBe(revoked.revokedAt);
    const events = (await listAuditEvents(client)).filter(({ action }) => action === 'REVOKE_API_KEY');
    expect(events).toEqual([
      {
        ...{ action: 'REVOKE_API_KEY', outcome: 'OK', keyId: administrator?.id, apiKeyId: apiKey.id },
        ...{ projectId: null, targetName: 'Another', changedFields: ['revokedAt'] },
      },
    ]);
    expect((await keysOf(client)).map(({ id }) => id)).toEqual([administrator?.id]);
    expect((await keysOf(client, true)).map(({ id }) => id)).toEqual([apiKey.id, administrator?.id]);
  });

  test('cannot create or revoke other keys while it is still cached', async () => {
    const organisation = await server.newOrganisation();
    const { client, orgId } = organisation;
    const { apiKey: victim } = await createKey(client, { name: 'Victim' });
    const attempts = [
      (key: string) => createKey(server.clientFor(key), { name: 'Left behind' }),
      (key: string) => revokeKey(server.clientFor(key), victim.id),
    ];
    for (const [expected, attempt] of [
      ['CREATE_API_KEY', attempts[0]],
      ['REVOKE_API_KEY', attempts[1]],
    ] as const) {
      for (const end of ['revokedAt', 'expiresAt']) {
        // The authentication cache expires by time, so a busy machine may need another attempt.
        await until(`a key that is still cached is rejected: ${expected}`, async () => {
          const { key, apiKey } = await createKey(client);
          await viewerOf(server.clientFor(key));
          await changeRows(server, ApiKey, { id: apiKey.id }, () => ({ [end]: new Date() }));
          const [error] = await errorsOf(attempt?.(key) ?? Promise.resolve());
          expect(error?.extensions.code).toBe('UNAUTHENTICATED');
          expect(error?.message).toBe(
            `This API key has ${end === 'revokedAt' ? 'been revoked' : 'expired'}.`,
          );
          const event = (await listAuditEvents(client)).find(({ keyId }) => keyId === apiKey.id);
          return (event?.action === expected && event.outcome === 'UNAUTHENTICATED') || undefined;
        });
      }
    }
    const keys = await keysOf(client, true);
    expect(keys.find(({ name }) => name === 'Left behind')).toBeUndefined();
    expect(keys.find(({ id }) => id === victim.id)?.revokedAt).toBeNull();
    expect(await server.asOwner().count(ApiKey, { orgId, name: 'Left behind' })).toBe(0);
  });
});

describe('last unlimited, unexpiring administrator key of an organisation', () => {
  test('cannot be revoked', async () => {
    const { client, projectId } = await server.newOrganisation();
    const last = (await viewerOf(client)).apiKey?.id ?? '';
    // Each of these keys lacks a scope, is limited to projects or connections, or expires.
    const others = await Promise.all([
      createKey(client, { scopes: ['ACCESS_ADMIN'] }),
      createKey(client, { expiresAt: '2999-01-01T00:00:00Z' }),
      createKey(client, { projectIds: [projectId] }),
      createKey(client, { scopes: everyScope.filter((scope) => scope !== 'AUDIT_READ') }),
      createKey(client, { connectionIds: [(await createConnection({ client })).id] }),
    ]);
    for (const key of [undefined, others[0].key, others[1].key, others[3].key]) {
      const holder = key === undefined ? client : server.clientFor(key);
      const [error] = await errorsOf(revokeKey(holder, last));
      expect(error?.extensions).toMatchObject({
        code: 'LAST_ADMINISTRATOR',
        remedy:
          'Create another key with all scopes, no projects, no connections and no expiry, then revoke this one.',
      });
    }
    await viewerOf(client);
    for (const { apiKey } of others) await revokeKey(client, apiKey.id);
    expect((await keysOf(client)).map(({ id }) => id)).toEqual([last]);
  });

  test('can be revoked after the remedy in the error was followed, also by itself', async () => {
    for (const byItself of [true, false]) {
      const { client } = await server.newOrganisation();
      const first = (await viewerOf(client)).apiKey?.id ?? '';
      const next = await createKey(client);
      await revokeKey(byItself ? client : server.clientFor(next.key), first);
      const heir = server.clientFor(next.key);
      expect((await keysOf(heir)).map(({ id }) => id)).toEqual([next.apiKey.id]);
      const [error] = await errorsOf(revokeKey(heir, next.apiKey.id));
      expect(error?.extensions.code).toBe('LAST_ADMINISTRATOR');
    }
  });

  test('remains when administrators revoke each other or themselves concurrently', async () => {
    const other = testDatabaseUrl ? await startTestServer({ beside: server }) : server;
    for (let round = 0; round < (testDatabaseUrl ? 40 : 4); round += 1) {
      const organisation = await server.newOrganisation();
      const size = 2 + (round % 3);
      const created = await Promise.all(
        Array.from({ length: size - 1 }, () => createKey(organisation.client)),
      );
      const first = (await viewerOf(organisation.client)).apiKey?.id ?? '';
      const administrators = [
        { key: organisation.apiKey, id: first },
        ...created.map(({ key, apiKey }) => ({ key, id: apiKey.id })),
      ];
      const step = round % 2;
      const outcomes = await Promise.all(
        administrators.map(({ key }, index) => {
          const victim = administrators[(index + step) % size]?.id ?? '';
          const { clientFor } = index % 2 === 0 ? server : other;
          return revokeKey(clientFor(key), victim).then(
            () => 'OK',
            async (error) => (await errorsOf(Promise.reject(error)))[0]?.extensions.code,
          );
        }),
      );
      const left = await server.asOwner().find(ApiKey, {
        ...{ orgId: organisation.orgId, revokedAt: null, expiresAt: null, projectIds: null },
        scopes: { $contains: [...scopes] },
      });
      // A key that was revoked meanwhile cannot revoke others, so more than one can remain.
      expect(left.length).toBeGreaterThanOrEqual(1);
      expect(left.length).toBe(size - outcomes.filter((outcome) => outcome === 'OK').length);
      for (const outcome of outcomes) {
        expect(['OK', 'LAST_ADMINISTRATOR', 'UNAUTHENTICATED']).toContain(outcome);
      }
      const survivor = administrators.find(({ id }) => id === left[0]?.id);
      expect((await viewerOf(server.clientFor(survivor?.key ?? ''))).scopes).toEqual(everyScope);
    }
    if (other !== server) await other.close();
  });

  test('does not count keys of another organisation', async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    const own = (await viewerOf(mine.client)).apiKey?.id ?? '';
    await createKey(theirs.client);
    expect((await errorsOf(revokeKey(mine.client, own)))[0]?.extensions.code).toBe('LAST_ADMINISTRATOR');
    await mine.client.request(createMutation, okta());
  });
});
