import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { FairScheduler } from '../src/common/fair-scheduler.ts';
import { currentRequest, RequestLogContext } from '../src/common/log.ts';
import { TenantUsage } from '../src/common/tenant-usage.ts';
import { AppConnection } from '../src/connections/app-connection.entity.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

vi.setConfig({ testTimeout: 60_000 });

/** The granted turns of each organisation. */
const turns = new Map<string, number>();

/** Grants one turn per iteration of the event loop, so that the test does not depend on the speed of the machine. */
class CountingScheduler extends FairScheduler {
  override async waitForTurn(tenantId: string): Promise<void> {
    await super.waitForTurn(tenantId);
    turns.set(tenantId, (turns.get(tenantId) ?? 0) + 1);
  }

  override async waitToContinue(tenantId: string): Promise<void> {
    await super.waitToContinue(tenantId);
    turns.set(tenantId, (turns.get(tenantId) ?? 0) + 1);
  }
}

const usage = new TenantUsage();

let server: TestServer;
/** The number of look-ups of connections. */
let lookUps = 0;
beforeAll(async () => {
  server = await startTestServer({
    scheduler: new CountingScheduler(usage, 0),
    wrap: (database) => ({
      ...database,
      select: (entity, ...others) => {
        if (Object.is(entity, AppConnection)) lookUps += 1;
        return database.select(entity, ...others);
      },
    }),
  });
});
afterAll(() => server.close());

const aliases = (field: string, count = 15) =>
  Array.from({ length: count }, (_, index) => `a${index}: ${field}`).join(' ');
const id = '7ffbb072-2575-495a-b5b0-127f88caef78';

async function turnsFor({ orgId }: TestOrganisation, work: () => Promise<unknown>): Promise<number> {
  turns.clear();
  await work();
  return turns.get(orgId) ?? 0;
}

/** Sends many requests at once, and then one of another organisation; counts how many are answered before that one. */
async function answeredBefore(noise: () => Promise<unknown>, many: number, one: () => Promise<unknown>) {
  let answered = 0;
  const count = () => {
    answered += 1;
  };
  const all = Array.from({ length: many }, () => noise().then(count, count));
  await one();
  const before = answered;
  await Promise.all(all);
  return before;
}

describe('fair scheduling between organisations', () => {
  it('takes a turn for a request and one for each of its fields', async () => {
    const organisation = await server.newOrganisation();
    const { client } = organisation;
    const readOnly = server.clientFor(await organisation.newKey(['connections:read']));
    const refused = `mutation { ${aliases(`deleteAppConnection(id: "${id}") { id }`)} }`;
    expect(await turnsFor(organisation, () => errorsOf(readOnly.request(refused)))).toBe(16);
    expect(await turnsFor(organisation, () => client.request(`{ ${aliases('viewer { scopes }')} }`))).toBe(
      16,
    );
  });

  it('takes a turn before each page is completed', async () => {
    const organisation = await server.newOrganisation();
    const page = 'appConnections(first: 100) { nodes { id } }';
    expect(await turnsFor(organisation, () => organisation.client.request(`{ ${aliases(page)} }`))).toBe(31);
  });

  it('takes a turn for every 20 items of a page, which arrive in their order', async () => {
    const organisation = await server.newOrganisation();
    const names = Array.from({ length: 50 }, (_, index) => `connection-${String(index).padStart(2, '0')}`);
    for (const name of names) await organisation.client.request(createMutation, okta({ name }));
    let answer: unknown;
    const count = await turnsFor(organisation, async () => {
      answer = await organisation.client.request(
        '{ a: appConnections(first: 50) { nodes { name } edges { node { name } } } b: viewer { scopes } }',
      );
    });
    const nodes = names.map((name) => ({ name }));
    expect(answer).toMatchObject({ a: { nodes, edges: nodes.map((node) => ({ node })) } });
    // One for the request, two for the fields, one for the page, and two for each of its lists.
    expect(count).toBe(8);
  });

  it('takes a turn for every 32 kB of a response with several fields', async () => {
    const organisation = await server.newOrganisation();
    // JSON has two characters for each.
    const description = '"'.repeat(250);
    for (let index = 0; index < 40; index += 1)
      await organisation.client.request(createMutation, okta({ name: `long-${index}`, description }));
    const page = 'appConnections(first: 40) { nodes { description } }';
    const turnsOf = (count: number) =>
      turnsFor(organisation, () => organisation.client.request(`{ ${aliases(page, count)} }`));
    // One for the request, three for each page.
    expect(await turnsOf(2)).toBe(7);
    expect(await turnsOf(8)).toBe(25 + 3);
  });

  it.runIf(testDatabaseUrl)('starts no more pages while a dozen of them wait for the database', async () => {
    const fair = await startTestServer();
    const [busy, other] = [await fair.newOrganisation(), await fair.newOrganisation()];
    const query = `{ ${aliases('appConnections { nodes { id } }')} }`;
    await busy.client.request(query);
    const holder = fair.asOwner();
    await holder.begin();
    await holder.execute('lock table app_connection in access exclusive mode');
    const countDatabaseWait = vi.spyOn(fair.database.usage, 'countDatabaseWait');
    const requests = Array.from({ length: 4 }, () => busy.client.request(query));
    try {
      // Until these reads are answered, every turn has been granted that can be.
      for (let reads = 0; reads < 20; reads += 1) await other.client.request('{ viewer { scopes } }');
      const waits = countDatabaseWait.mock.calls.filter(([tenantId]) => tenantId === busy.orgId);
      expect(waits.length).toBeGreaterThanOrEqual(8);
      expect(waits.length).toBeLessThan(20);
    } finally {
      await holder.rollback();
      await Promise.all(requests);
      await fair.close();
    }
  });

  it('completes the oldest request of an organisation first', async () => {
    const scheduler = new FairScheduler(new TenantUsage(), 0);
    const [oldest, older, newest] = [0, 1, 2].map((startedAt) =>
      Object.assign(new RequestLogContext(`${startedAt}`, undefined, undefined), { startedAt }),
    );
    const completed: (string | undefined)[] = [];
    const complete = (request: RequestLogContext | undefined) =>
      request &&
      currentRequest.run(request, async () => {
        await scheduler.waitToContinue('organisation');
        completed.push(request.id);
      });
    // The first one gets its turn at once, and the others wait.
    await Promise.all([oldest, newest, older].map(complete));
    expect(completed).toEqual(['0', '1', '2']);
  });

  it('takes turns for REST requests and GraphQL requests with GET', async () => {
    const organisation = await server.newOrganisation();
    const headers = { authorization: `Bearer ${organisation.apiKey}` };
    const get = (path: string) => () => fetch(`${server.url}${path}`, { headers });
    expect(await turnsFor(organisation, get('/api/v1/viewer'))).toBe(1);
    expect(await turnsFor(organisation, get('/graphql?query={viewer{scopes}}'))).toBe(2);
  });

  it.runIf(testDatabaseUrl)('uses the event loop while its rows are parsed', async () => {
    const { orgId } = await server.newOrganisation();
    const addLoopTime = vi.spyOn(server.database.usage, 'addLoopTime');
    await server.database.forOrganisation(orgId).execute('select generate_series(1, 10)');
    expect(addLoopTime).toHaveBeenCalledWith(orgId, expect.any(Number));
    addLoopTime.mockRestore();
  });

  it('answers another organisation while hundreds of requests are rejected', async () => {
    const [busy, other] = [await server.newOrganisation(), await server.newOrganisation()];
    const readOnly = server.clientFor(await busy.newKey(['connections:read']));
    const refused = `mutation { ${aliases(`deleteAppConnection(id: "${id}") { id }`)} }`;
    const read = () => other.client.request('{ viewer { scopes } }');
    await read();
    expect(await answeredBefore(() => readOnly.request(refused), 60, read)).toBeLessThan(20);
  });

  it('takes a turn for each missed event of a subscription, and for each look-up of ten', async () => {
    const organisation = await server.newOrganisation();
    const { client, apiKey, orgId } = organisation;
    const { createOktaConnection } = await client.request<{
      createOktaConnection: { appConnection: { id: string } };
    }>(createMutation, okta());
    const changes = 250;
    const connectionId = createOktaConnection.appConnection.id;
    await server.asOwner().execute(
      `insert into audit_event (org_id, seq, at, action, connection_id, outcome, fields, previous_hash, hash)
         select ?, seq, now(), 'VERIFY_CONNECTION', ?, 'OK', '{verification}', '', '' from generate_series(2, ${changes}) seq`,
      [orgId, connectionId],
    );
    turns.clear();
    lookUps = 0;
    await using heard = await subscribe(
      server.graphqlUrl,
      apiKey,
      'subscription ($after: String) { appConnectionChanged(after: $after) { appConnection { id } } }',
      { after: Buffer.from('change:0').toString('base64url') },
    );
    for (let count = 0; count < changes; count += 1) {
      const { data } = await heard.next();
      expect(data).toEqual({ appConnectionChanged: { appConnection: { id: connectionId } } });
    }
    const batches = changes / 10;
    // One for the request, and the next batch may have begun.
    expect([changes + batches + 1, changes + batches + 2]).toContain(turns.get(orgId));
    expect(lookUps).toBe(batches);
  });
});

describe('busy organisations', () => {
  const viewer = '{ viewer { scopes } }';
  const aMinute = 60_000;

  it.each([
    ['use the event loop', (orgId: string) => usage.addLoopTime(orgId, aMinute)],
    ['scan the audit trail', (orgId: string) => usage.addScanTime(orgId, aMinute)],
  ])('that %s wait while an organisation that uses little is active', async (_, addUse) => {
    const [busy, quiet] = [await server.newOrganisation(), await server.newOrganisation()];
    await quiet.client.request(viewer);
    addUse(busy.orgId);
    let isAnswered = false;
    const delayed = busy.client.request(viewer).then(() => {
      isAnswered = true;
    });
    for (let reads = 0; reads < 5; reads += 1) await quiet.client.request(viewer);
    expect(isAnswered).toBe(false);
    // The quiet organisation stops.
    await delayed;
  });

  it('do not wait for each other', async () => {
    const organisations = [await server.newOrganisation(), await server.newOrganisation()];
    for (const { orgId } of organisations) usage.addLoopTime(orgId, aMinute);
    for (const { client } of organisations) await client.request(viewer);
  });

  it('are told to send less after ten seconds of waiting', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout'] });
    try {
      const ofServer = new TenantUsage();
      const scheduler = new FairScheduler(ofServer);
      ofServer.addLoopTime('quiet', 1);
      ofServer.addLoopTime('busy', aMinute);
      const rejection = scheduler.waitForTurn('busy').catch((error: unknown) => error);
      for (let seconds = 0; seconds < 12; seconds += 1) {
        await vi.advanceTimersByTimeAsync(900);
        ofServer.addLoopTime('quiet', 1);
        ofServer.addLoopTime('busy', aMinute);
      }
      expect(await rejection).toMatchObject({
        code: 'RATE_LIMITED',
        remedy: 'Send fewer requests at a time, with fewer fields and shorter pages.',
      });
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('fair authentication of unknown keys', () => {
  it.runIf(testDatabaseUrl)(
    'does not delay known keys while unauthenticated clients try unknown keys',
    async () => {
      const { client } = await server.newOrganisation();
      const viewer = gql`{ viewer { scopes } }`;
      await client.request(viewer);
      const holder = server.asOwner();
      await holder.begin();
      await holder.execute('lock table api_key in access exclusive mode');
      const waiting = async () => {
        await holder.execute('select pg_stat_clear_snapshot()');
        const [row] = await holder.execute<{ count: number }[]>(
          `select count(*)::int as count from pg_stat_activity
           where datname = current_database() and wait_event_type = 'Lock'`,
        );
        return row?.count ?? 0;
      };
      const unauthenticated = Array.from({ length: 30 }, (_, index) =>
        errorsOf(server.clientFor(`unknown-key-${index}`.padEnd(40, 'x')).request(viewer)),
      );
      await until(
        'unauthenticated clients use their share of connections',
        async () => (await waiting()) === 4 || undefined,
      );
      // The cached authentication of the key has expired.
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 10_000 });
      const known = client.request(viewer);
      try {
        await until('the known key is looked up', async () => (await waiting()) === 5 || undefined);
      } finally {
        vi.useRealTimers();
        await holder.rollback();
      }
      await Promise.all([known, ...unauthenticated]);
    },
  );
});
