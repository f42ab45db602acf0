import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeEventCursor } from '../src/audit/event-cursor.ts';
import { appendEvents, serverActor } from '../src/audit/hash-chain.ts';
import { RefusalRecorder } from '../src/audit/refusal-counter.ts';
import { AppError } from '../src/common/errors.ts';
import { FairScheduler } from '../src/common/fair-scheduler.ts';
import { createLog } from '../src/common/log.ts';
import type { ConnectionDeps } from '../src/connections/deps.ts';
import { subscribeToConnections } from '../src/connections/operations/subscribe.ts';
import { subscribeToHosts } from '../src/connections/operations/subscribe-to-hosts.ts';
import { RateBudgets } from '../src/connections/rate-budget/rate-budgets.ts';
import { UsageCounter } from '../src/connections/usage/usage-counter.ts';
import { Caller, scopes } from '../src/identity/caller.ts';
import { createOutbound } from '../src/outbound/create-outbound.ts';
import { unlimited } from '../src/rate-limits/rate-limits.ts';
import { administer, testDatabaseUrl } from './testkit/database.ts';
import { createConnection, presetMutation } from './testkit/operations.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { type Subscription, subscribe } from './testkit/sse-client.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const watching = gql`
  subscription Watch($projectId: UUID, $after: String) {
    appConnectionChanged(projectId: $projectId, after: $after) {
      eventId kind connectionId appConnection { name version }
    }
  }
`;
const allWatching = gql`
  subscription { appConnectionChanged { eventId kind connectionId appConnection { name version } } }
`;

interface Change {
  eventId: string;
  kind: string;
  connectionId: string;
  appConnection: { name: string; version: number } | null;
}

async function nextChange(subscription: Subscription): Promise<Change> {
  const { data, errors } = await subscription.next();
  if (!data) throw new Error(JSON.stringify(errors));
  return data.appConnectionChanged as Change;
}

async function createNamed(organisation: TestOrganisation, name: string, differing = {}): Promise<string> {
  return (await createConnection(organisation, { name, ...differing })).id;
}

const rename = gql`
  mutation ($id: UUID!, $name: String!) {
    updateOktaConnection(id: $id, input: { name: $name }) { appConnection { id } }
  }
`;
const mutation = (name: string) =>
  `mutation ($id: UUID!) { ${name}(id: $id) { ${name === 'deleteAppConnection' ? 'id' : 'appConnection { id }'} } }`;

/** What a subscription needs, without HTTP, in whose buffers a test does not see how far a server has read. */
function subscriber({ orgId }: TestOrganisation): [ConnectionDeps, Caller] {
  const { database, vault } = server;
  return [
    {
      apps: [],
      database,
      vault,
      outbound: createOutbound({ trustedHosts: new Set() }),
      limits: unlimited,
      scheduler: new FairScheduler(),
      deletedRetentionDays: 1,
      sendsMail: false,
      isRecipientAllowed: () => true,
      prepareOwnerNotice: async () => [],
      log: createLog('silent'),
      refusals: new RefusalRecorder({ database, vault, log: createLog('silent') }, 60_000),
      reads: new RefusalRecorder({ database, vault, log: createLog('silent') }, 60_000),
      usage: new UsageCounter({ database, log: createLog('silent') }),
      getPublicUrl: () => '',
      budgets: new RateBudgets({ database, log: createLog('silent') }),
    },
    new Caller({
      ...{ orgId: orgId, keyId: null, subject: 'someone' },
      scopes,
      projectIds: null,
      expiresAt: null,
    }),
  ];
}

describe('connection subscription', () => {
  test('delivers every change in order, and nothing that was refused', async () => {
    const organisation = await server.newOrganisation();
    const { client, apiKey } = organisation;
    await using changes = await subscribe(server.graphqlUrl, apiKey, allWatching);
    const id = await createNamed(organisation, 'watched');
    expect(await nextChange(changes)).toMatchObject({
      kind: 'CREATED',
      connectionId: id,
      appConnection: { name: 'watched', version: 1 },
    });
    await errorsOf(createNamed(organisation, 'watched'));
    await client.request(rename, { id, name: 'renamed' });
    expect(await nextChange(changes)).toMatchObject({
      kind: 'UPDATED',
      appConnection: { name: 'renamed', version: 2 },
    });
    await client.request(mutation('verifyAppConnection'), { id });
    expect(await nextChange(changes)).toMatchObject({ kind: 'VERIFIED' });
    await client.request(presetMutation, { id, preset: 'LOGS_READ' });
    expect(await nextChange(changes)).toMatchObject({ kind: 'UPDATED', appConnection: { version: 3 } });
    await client.request(mutation('deleteAppConnection'), { id });
    expect(await nextChange(changes)).toMatchObject({
      kind: 'DELETED',
      connectionId: id,
      appConnection: null,
    });
    await client.request(mutation('restoreAppConnection'), { id });
    expect(await nextChange(changes)).toMatchObject({ kind: 'RESTORED', appConnection: { name: 'renamed' } });
  });

  test('delivers missed events after a reconnect with Last-Event-ID', async () => {
    const organisation = await server.newOrganisation();
    let last: string;
    {
      await using changes = await subscribe(server.graphqlUrl, organisation.apiKey, allWatching);
      await createNamed(organisation, 'seen');
      last = (await nextChange(changes)).eventId;
    }
    const missed = [];
    for (let i = 0; i < 5; i += 1) missed.push(await createNamed(organisation, `missed-${i}`));
    await using changes = await subscribe(server.graphqlUrl, organisation.apiKey, watching, {
      after: last,
    });
    const heard: string[] = [];
    while (heard.length < 5) heard.push((await nextChange(changes)).connectionId);
    expect(heard).toEqual(missed);
    const next = await createNamed(organisation, 'live-again');
    expect((await nextChange(changes)).connectionId).toBe(next);
  });

  test('delivers each of 40 concurrent changes exactly once', async () => {
    const organisation = await server.newOrganisation();
    await using changes = await subscribe(server.graphqlUrl, organisation.apiKey, allWatching);
    const ids = await Promise.all(Array.from({ length: 40 }, (_, i) => createNamed(organisation, `c-${i}`)));
    const heard = new Set<string>();
    for (let i = 0; i < 40; i += 1) heard.add((await nextChange(changes)).connectionId);
    expect(heard).toEqual(new Set(ids));
  });

  test('filters by project, or by no project', async () => {
    const organisation = await server.newOrganisation();
    const { apiKey, projectId } = organisation;
    await using ofProject = await subscribe(server.graphqlUrl, apiKey, watching, { projectId });
    await using ofNone = await subscribe(server.graphqlUrl, apiKey, watching, { projectId: null });
    await createNamed(organisation, 'of-none');
    await createNamed(organisation, 'of-project', { projectId });
    expect(await nextChange(ofProject)).toMatchObject({ appConnection: { name: 'of-project' } });
    await createNamed(organisation, 'of-none-again');
    expect(await nextChange(ofNone)).toMatchObject({ appConnection: { name: 'of-none' } });
    expect(await nextChange(ofNone)).toMatchObject({ appConnection: { name: 'of-none-again' } });
  });

  test("never delivers another organisation's events", async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    await using changes = await subscribe(server.graphqlUrl, mine.apiKey, allWatching);
    await createNamed(theirs, 'theirs');
    const id = await createNamed(mine, 'mine');
    expect((await nextChange(changes)).connectionId).toBe(id);
  });

  test('requires connections:read and a valid Last-Event-ID', async () => {
    const organisation = await server.newOrganisation();
    const writer = await organisation.newKey(['connections:write']);
    for (const [key, variables, code] of [
      ['an-unknown-key', {}, 'UNAUTHENTICATED'],
      [writer, {}, 'FORBIDDEN'],
      [organisation.apiKey, { after: 'nonsense' }, 'BAD_USER_INPUT'],
      [organisation.apiKey, { after: '' }, 'BAD_USER_INPUT'],
      [organisation.apiKey, { projectId: 'nonsense' }, 'BAD_USER_INPUT'],
    ] as const) {
      await using refused = await subscribe(server.graphqlUrl, key, watching, variables);
      const { errors } = await refused.next();
      expect(errors?.[0]?.extensions.code).toBe(code);
    }
  });

  test('delivers no further event to a revoked key, even from a backlog', async () => {
    const organisation = await server.newOrganisation();
    for (const name of ['one', 'two', 'three']) await createNamed(organisation, name);
    let isRevoked = false;
    const [deps, caller] = subscriber(organisation);
    const changes = await subscribeToConnections(deps, caller, {
      after: encodeEventCursor('change', 0),
      assertStillAuthenticated: async () => {
        if (isRevoked) throw new AppError('UNAUTHENTICATED', 'This API key has been revoked.');
      },
    });
    expect((await changes.next()).value).toMatchObject({ kind: 'CREATED' });
    isRevoked = true;
    await expect(changes.next()).rejects.toThrow('This API key has been revoked.');
  });

  test('ends with its client or its key also in a long part of the trail that has nothing for it', async () => {
    const { orgId, ...organisation } = await server.newOrganisation();
    const nothing = { ...serverActor, orgId, action: 'CHECK_CONNECTION', outcome: 'OK' } as const;
    await server.asOwner().transactional(async (em) => {
      await appendEvents(
        em,
        server,
        orgId,
        Array.from({ length: 50 }, () => ({ ...nothing, fields: [] })),
      );
    });
    const [deps, caller] = subscriber({ orgId, ...organisation });
    const after = encodeEventCursor('change', 0);
    for (const subscribeTo of [subscribeToHosts, subscribeToConnections]) {
      const leaving = new AbortController();
      let batches = 0;
      const left = await subscribeTo(deps, caller, {
        after,
        signal: leaving.signal,
        assertStillAuthenticated: async () => {
          batches += 1;
          if (batches === 3) leaving.abort();
        },
      });
      expect(await left.next()).toEqual({ done: true, value: undefined });
      expect(batches).toBe(3);
      let checks = 0;
      const revoked = await subscribeTo(deps, caller, {
        after,
        assertStillAuthenticated: async () => {
          checks += 1;
          if (checks === 3) throw new AppError('UNAUTHENTICATED', 'This API key has been revoked.');
        },
      });
      await expect(revoked.next()).rejects.toThrow('This API key has been revoked.');
    }
  });

  test('refuses an event id after the end of the trail, as a backup that was restored leaves it', async () => {
    const organisation = await server.newOrganisation();
    await createNamed(organisation, 'restored');
    await using late = await subscribe(server.graphqlUrl, organisation.apiKey, watching, {
      after: encodeEventCursor('change', 1_000),
    });
    const { errors } = await late.next();
    expect(errors?.[0]).toMatchObject({
      message: expect.stringContaining('The audit trail ends before this event id'),
      extensions: { code: 'BAD_USER_INPUT' },
    });
  });

  test('ends when the server stops, without delaying it', async () => {
    const stopping = await startTestServer();
    const { apiKey } = await stopping.newOrganisation();
    await using changes = await subscribe(stopping.graphqlUrl, apiKey, allWatching);
    await stopping.close();
    await changes.ended;
  });
});

describe.skipIf(!testDatabaseUrl)('connection subscription on two servers with one database', () => {
  test('delivers changes of the other server, also after a lost database connection', async () => {
    const other = await startTestServer({ beside: server });
    const organisation = await server.newOrganisation();
    const there = { ...organisation, client: other.clientFor(organisation.apiKey) };
    await using changes = await subscribe(server.graphqlUrl, organisation.apiKey, allWatching);
    const first = await createNamed(there, 'made-there');
    expect((await nextChange(changes)).connectionId).toBe(first);
    await administer(
      `select pg_terminate_backend(pid) from pg_stat_activity where query ~ '^listen |pg_notify' and datname = '${server.databaseName}'`,
    );
    const second = await createNamed(there, 'made-while-deaf');
    expect((await nextChange(changes)).connectionId).toBe(second);
    const third = await createNamed(there, 'made-after');
    expect((await nextChange(changes)).connectionId).toBe(third);
    await other.close();
  });

  test('delivers changes of a server that dies before it announces them', async () => {
    const organisation = await server.newOrganisation();
    const { apiKey, orgId } = organisation;
    const connectionId = await createNamed(organisation, 'verified-before-death');
    await using changes = await subscribe(server.graphqlUrl, apiKey, allWatching);
    // What such a server leaves behind: a committed event, and no notification.
    const silent = { database: { ...server.database, announce: () => {} }, vault: server.vault };
    const event = {
      ...serverActor,
      orgId,
      action: 'VERIFY_CONNECTION',
      connectionId,
      outcome: 'OK',
    } as const;
    await server.asOwner().transactional(async (em) => {
      await appendEvents(em, silent, orgId, [{ ...event, fields: ['verification'] }]);
    });
    expect(await nextChange(changes)).toMatchObject({ kind: 'VERIFIED', connectionId });
  });
});
