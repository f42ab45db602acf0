import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { createLog } from '../src/common/log.ts';
import { durationBucket, estimateQuantile } from '../src/connections/usage/durations.ts';
import { readUsageByCaller, readUsageCounts } from '../src/connections/usage/read-usage.ts';
import { readUsers } from '../src/connections/usage/read-users.ts';
import {
  maxCallersOfConnection,
  maxLabelsOfConnection,
  maxRowsOfOrganisation,
  maxRowsWithoutResponse,
  type UsageCall,
  UsageCounter,
} from '../src/connections/usage/usage-counter.ts';
import { toUsageRange } from '../src/connections/usage/usage-range.ts';
import { lastingData, testDatabaseUrl } from './testkit/database.ts';
import { startProgram } from './testkit/in-process.ts';
import { startOkta, type TestOkta } from './testkit/okta.ts';
import { spawnServer } from './testkit/process.ts';
import { at, createConnectionOverRest, restClient } from './testkit/rest.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { times } from './testkit/stress.ts';

// Some of these start a process, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 * times });

let okta: TestOkta;
let server: TestServer;
let organisation: TestOrganisation;

beforeAll(async () => {
  okta = await startOkta();
  server = await startTestServer({ config: { trustedInstanceHosts: new Set([okta.hostPort]) } });
  organisation = await server.newOrganisation();
});
afterAll(async () => {
  await server.close();
  await okta.close();
});

async function connect(url = server.url, apiKey = organisation.apiKey): Promise<string> {
  const { id } = await createConnectionOverRest(restClient(url, apiKey), {
    name: `connection-${randomUUID()}`,
    credentials: { instanceUrl: okta.origin, apiToken: 'a-good-token' },
  });
  return id;
}

async function use(url: string, id: string, apiKey = organisation.apiKey): Promise<void> {
  const headers = { authorization: `Bearer ${apiKey}` };
  const path = `/api/v1/app-connections/okta/${id}/proxy/api/v1/users/me`;
  const response = await fetch(`${url}${path}`, { headers });
  expect(response.status).toBe(200);
  await response.text();
}

/** Creates an API key that may use connections, which the administrator's may not. */
async function createUser(url: string, administrator: string): Promise<string> {
  const { body } = await restClient(url, administrator)('POST', '/api/v1/api-keys', {
    name: 'Program',
    scopes: ['connections:use', 'connections:read'],
  });
  return String(at(body, 'key'));
}

async function countCalls(url: string, id: string, apiKey = organisation.apiKey): Promise<unknown> {
  const path = `/api/v1/app-connections/okta/${id}/usage`;
  const { body } = await restClient(url, apiKey)('GET', path);
  return at(body, 'usage', 'total', 'calls');
}

const range = () => toUsageRange({ by: 'HOUR' });

async function readTotal(id: string) {
  const [usage] = await readUsageCounts(server.database, organisation.orgId, [id], range());
  return usage?.total;
}

function readCallers(id: string) {
  return readUsageByCaller(server.database, organisation.orgId, id, range());
}

function newCounter(): UsageCounter {
  return new UsageCounter({ database: server.database, log: createLog('silent') });
}

/** What most calls here have. */
const defaults = { label: '', bytesUp: 0, bytesDown: 0 };

describe('the duration of calls', () => {
  it('is estimated with at most a fifth of error', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 1, max: 600_000, noNaN: true }), { minLength: 1, maxLength: 300 }),
        fc.constantFrom(0.5, 0.99),
        (durations, quantile) => {
          const counts: number[] = Array.from({ length: 80 }, () => 0);
          for (const ms of durations) counts[durationBucket(ms)] = (counts[durationBucket(ms)] ?? 0) + 1;
          const sorted = durations.toSorted((one, other) => one - other);
          const exact = sorted[Math.ceil(quantile * sorted.length) - 1] ?? 0;
          const estimate = estimateQuantile(counts, quantile) ?? 0;
          expect(estimate).toBeGreaterThanOrEqual(exact / 1.2 - 0.1);
          expect(estimate).toBeLessThanOrEqual(exact * 1.2 + 0.1);
        },
      ),
      { numRuns: 100 * times },
    );
  });

  it.each([
    [[], null],
    [[0, 0], null],
    [[1], 0.5],
  ])('is estimated for the counts %j as %s', (counts, estimate) => {
    expect(estimateQuantile(counts, 0.5)).toBe(estimate);
  });
});

describe('usage that several servers store', () => {
  it('is the sum of the calls, however they are distributed over servers and time', async () => {
    const id = await connect();
    const { orgId } = organisation;
    const counters = [newCounter(), newCounter()] as const;
    const call = fc.record({
      ...{ orgId: fc.constant(orgId), connectionId: fc.constant(id) },
      caller: fc.constantFrom('key:a', 'key:b', 'subject:c'),
      label: fc.constantFrom('', 'payroll', 'reports/2.1'),
      outcome: fc.constantFrom<UsageCall['outcome']>('OK', 'USE_DENIED', 'CLIENT_DISCONNECTED'),
      status: fc.constantFrom(undefined, 200, 204, 404, 500),
      durationMs: fc.double({ min: 0, max: 100_000, noNaN: true }),
      bytesUp: fc.nat(1_000),
      bytesDown: fc.nat(2 ** 40),
    });
    const step = fc.tuple(fc.constantFrom(0, 1), fc.option(call, { freq: 5 }));
    const counted: UsageCall[] = [];
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        for (const [server, ended] of steps) {
          const counter = counters[server === 0 ? 0 : 1];
          if (!ended) await counter.flush();
          else {
            counter.count(ended);
            counted.push(ended);
          }
        }
        // At once: both may add to the same rows.
        await Promise.all(counters.map((counter) => counter.flush()));
        const total = await readTotal(id);
        const sum = (name: 'bytesUp' | 'bytesDown') => counted.reduce((all, each) => all + each[name], 0);
        expect(total).toMatchObject({
          ...{ calls: counted.length, bytesUp: sum('bytesUp'), bytesDown: sum('bytesDown') },
          outcomes: tally(counted, ({ outcome }) => outcome).map(([outcome, calls]) => ({ outcome, calls })),
        });
        const answered = counted.filter(({ status }) => status !== undefined);
        const histogram: number[] = Array.from({ length: 80 }, () => 0);
        for (const { durationMs } of answered) {
          const bucket = durationBucket(durationMs);
          histogram[bucket] = (histogram[bucket] ?? 0) + 1;
        }
        expect(total?.p50Ms).toBe(estimateQuantile(histogram, 0.5));
        const callers = tally(counted, ({ caller }) => caller);
        expect((await readCallers(id)).map(({ caller, calls }) => [caller, calls])).toEqual(callers);
        // Whoever was never answered is no user.
        const isOfUser = ({ outcome, status }: UsageCall) => outcome === 'OK' || status !== undefined;
        const users = tally(counted, ({ caller, label }) => `${caller} ${label}`).filter(([user]) =>
          counted.some((call) => isOfUser(call) && user === `${call.caller} ${call.label}`),
        );
        const read = await readUsers(server.database, orgId, id, 90);
        expect(read.map(({ caller, label, calls }) => [`${caller} ${label ?? ''}`, calls]).sort()).toEqual(
          users.sort(),
        );
      }),
      { numRuns: 10 * times },
    );
    await Promise.all(counters.map((counter) => counter.close()));
  });

  it.runIf(testDatabaseUrl)('has the calls through each of two servers', async () => {
    const config = { trustedInstanceHosts: new Set([okta.hostPort]) };
    const second = await startTestServer({ beside: server, config });
    const id = await connect();
    for (const url of [server.url, second.url, second.url]) await use(url, id);
    expect([1, 3]).toContain(await countCalls(server.url, id));
    // A server that stops stores what it has counted.
    await second.close();
    expect(await countCalls(server.url, id)).toBe(3);
  });

  it('is complete after SIGTERM, and after SIGKILL but for streams and the last seconds', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const apiKey = `key-${randomUUID()}`;
    const settings = {
      ...data,
      BOOTSTRAP_API_KEY: apiKey,
      ...(data.DATABASE_URL && { NODE_ENV: 'production', ENCRYPTION_KEYS: rootKey('k1') }),
      TRUSTED_INSTANCE_HOSTS: okta.hostPort,
    };
    const start = async (startServer: typeof spawnServer) => {
      const server = stack.use(startServer(settings));
      return { server, url: await server.ready() };
    };

    okta.behave(handleFakeOkta);
    const first = await start(spawnServer);
    const id = await connect(first.url, apiKey);
    const user = await createUser(first.url, apiKey);
    await use(first.url, id, user);
    await use(first.url, id, user);
    // Reading stores what was counted.
    expect(await countCalls(first.url, id, user)).toBe(2);
    const streaming = Promise.withResolvers<void>();
    okta.behave((_, response) => {
      response.writeHead(200).write('x', () => streaming.resolve());
    });
    const stream = use(first.url, id, user);
    await streaming.promise;
    first.server.kill('SIGKILL');
    await expect(stream).rejects.toThrow();
    await first.server.ended();

    okta.behave(handleFakeOkta);
    const second = await start(startProgram);
    expect(await countCalls(second.url, id, user)).toBe(2);
    await use(second.url, id, user);
    second.server.kill('SIGTERM');
    await second.server.ended();
    const third = await start(startProgram);
    expect(await countCalls(third.url, id, user)).toBe(3);
  });

  it('is stored later if the database fails', async () => {
    const id = await connect();
    const counter = newCounter();
    const { orgId } = organisation;
    const call = { orgId, connectionId: id, caller: 'key:a', label: '', outcome: 'OK', status: 200 } as const;
    const em = server.asOwner();
    await em.execute('alter table connection_usage rename to mislaid');
    counter.count({ ...call, durationMs: 10, ...defaults });
    await counter.flush();
    counter.count({ ...call, durationMs: 20, bytesUp: 1, bytesDown: 2 });
    await em.execute('alter table mislaid rename to connection_usage');
    await counter.close();
    expect(await readTotal(id)).toMatchObject({ calls: 2, bytesUp: 1, bytesDown: 2 });
    expect(await readCallers(id)).toMatchObject([{ caller: 'key:a', calls: 2 }]);
  });
});

describe('the rows of usage', () => {
  it(`are at most ${maxCallersOfConnection} callers of a connection, and one for all others`, async () => {
    const id = await connect();
    const counter = newCounter();
    for (let caller = 0; caller < 3 * maxCallersOfConnection; caller += 1) {
      const { orgId } = organisation;
      counter.count({
        ...{ orgId, connectionId: id, caller: `subject:${caller}`, label: '', outcome: 'OK', status: 200 },
        ...{ durationMs: 1, bytesUp: 1, bytesDown: 1 },
      });
      if (caller % 50 === 0) await counter.flush();
    }
    await counter.close();
    const callers = await readCallers(id);
    const stored = await server
      .asOwner()
      .execute<object[]>('select 1 from connection_usage_caller where connection_id = ?', [id]);
    expect([callers.length, stored.length]).toEqual([maxCallersOfConnection + 1, maxCallersOfConnection + 1]);
    expect(callers.at(-1)).toMatchObject({ caller: '', calls: 2 * maxCallersOfConnection });
    expect((await readTotal(id))?.calls).toBe(3 * maxCallersOfConnection);
  });

  it(`are at most ${maxLabelsOfConnection} labels of a connection in a day, and one for all others`, async () => {
    const id = await connect();
    const counter = newCounter();
    const { orgId } = organisation;
    const count = (label: string) => {
      const call = { orgId, connectionId: id, caller: 'key:a', outcome: 'OK', status: 200 } as const;
      counter.count({ ...call, ...defaults, durationMs: 1, label });
    };
    // Stored in between, so that it is not the rows in memory that are counted.
    for (const suffix of ['', '', '-again']) {
      for (let label = 0; label < maxLabelsOfConnection; label += 1) count(`program-${label}${suffix}`);
      await counter.flush();
    }
    await counter.close();
    const users = await readUsers(server.database, orgId, id, 90);
    const calls = new Map(users.map((user) => [user.label, user.calls]));
    expect(calls.size).toBe(maxLabelsOfConnection + 1);
    expect([calls.get('program-0'), calls.get('other')]).toEqual([2, maxLabelsOfConnection]);
  });

  it('have room for calls that the app answers, however many connections a caller invents', async () => {
    const id = await connect();
    const counter = newCounter();
    const count = (connectionId: string, status?: number) => {
      const { orgId } = organisation;
      const outcome = status ? 'OK' : 'NOT_FOUND';
      counter.count({ orgId, connectionId, caller: 'key:a', outcome, status, durationMs: 1, ...defaults });
    };
    for (let call = 0; call < maxRowsOfOrganisation; call += 1) count(randomUUID());
    count(id, 200);
    await counter.close();
    expect((await readTotal(id))?.calls).toBe(1);
    expect(maxRowsWithoutResponse).toBeLessThan(maxRowsOfOrganisation);
  });

  it('have a limit for an organisation, beyond which calls are left out and logged', async () => {
    const lines: string[] = [];
    const log = createLog('warn', { write: (line) => lines.push(line) });
    const counter = new UsageCounter({ database: server.database, log });
    const call = { caller: 'key:a', outcome: 'OK', status: 200, durationMs: 1, ...defaults } as const;
    const [id, other] = [await connect(), await server.newOrganisation()];
    const { orgId } = organisation;
    for (let each = 0; each < maxRowsOfOrganisation; each += 1)
      counter.count({ ...call, orgId, connectionId: randomUUID() });
    counter.count({ ...call, orgId, connectionId: id });
    const theirs = await connect(server.url, other.apiKey);
    counter.count({ ...call, orgId: other.orgId, connectionId: theirs });
    await counter.close();
    expect(await readTotal(id)).toMatchObject({ calls: 0 });
    const [usage] = await readUsageCounts(server.database, other.orgId, [theirs], range());
    expect(usage?.total.calls).toBe(1);
    expect(lines.join('')).toContain('"calls":1');
  });
});

/** The number of items by key, largest first, and then by key. */
function tally<Item>(items: readonly Item[], keyOf: (item: Item) => string): [string, number][] {
  return [...Map.groupBy(items, keyOf)]
    .map(([key, all]): [string, number] => [key, all.length])
    .sort(([name, one], [otherName, other]) => other - one || (name < otherName ? -1 : 1));
}
