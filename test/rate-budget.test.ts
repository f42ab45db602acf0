import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { defaultStreamLimits } from '../src/outbound/create-outbound.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { type Behaviour, startOkta, type TestOkta, withToken } from './testkit/okta.ts';
import { type JournalEntry, type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { updateMutation } from './testkit/operations.ts';
import { spawnServer } from './testkit/process.ts';
import { at, createConnectionOverRest, restClient } from './testkit/rest.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 120_000 });

const token = '00QCjAl4MlV-WPXM_A5B6C7D8E9F0GhIjKlMnOpQrS';
let okta: OktaStandIn;
/** An Okta that does what a test says. */
let host: TestOkta;
/** Servers of one database; one on the embedded database. */
let servers: TestServer[];
let organisation: TestOrganisation;

beforeAll(async () => {
  okta = await startOktaStandIn();
  host = await startOkta();
  const config = {
    trustedInstanceHosts: new Set([okta.hostPort, host.hostPort]),
    streamLimits: { ...defaultStreamLimits, maxRequestBytes: 64 * 1024 },
  };
  const one = await startTestServer({ config });
  const others = testDatabaseUrl ? [1, 2].map(() => startTestServer({ config, beside: one })) : [];
  servers = [one, ...(await Promise.all(others))];
  organisation = await one.newOrganisation();
});
afterAll(async () => {
  for (const server of servers.toReversed()) await server.close();
  await host.close();
  await okta[Symbol.asyncDispose]();
});

let connections = 0;
let id: string;
beforeEach(async () => {
  await okta.setLimit(600);
  id = await connectTo(okta.origin);
  await okta.takeJournal();
});

async function connectTo(instanceUrl: string): Promise<string> {
  connections += 1;
  const rest = restClient(serverAt(0).url, organisation.apiKey);
  const credentials = { instanceUrl, apiToken: token };
  const created = await createConnectionOverRest(rest, { name: `connection-${connections}`, credentials });
  await rest('PUT', `/api/v1/app-connections/okta/${created.id}/use-policy`, {
    rules: [{ effect: 'ALLOW', path: '/**' }],
  });
  return created.id;
}

function serverAt(index: number): TestServer {
  const server = servers[index % servers.length];
  if (!server) throw new Error('There is no server.');
  return server;
}

const users = '/api/v1/users?limit=1';

/** Sends a request through the connection. */
async function use(
  path: string,
  { wait, apiKey = organisation.apiKey, index = 0, ...init }: RequestInit & UseOptions = {},
) {
  const response = await fetch(`${serverAt(index).url}/api/v1/app-connections/okta/${id}/proxy${path}`, {
    ...init,
    headers: {
      authorization: `Bearer ${apiKey}`,
      ...(wait !== undefined && { prefer: `respond-async, wait=${wait}` }),
    },
  });
  const text = await response.text();
  return {
    status: response.status,
    retryAfter: Number(response.headers.get('retry-after')),
    code: response.status === 503 ? at(JSON.parse(text), 'code') : undefined,
    problem: text,
  };
}

interface UseOptions {
  /** Seconds. */
  wait?: number;
  apiKey?: string;
  /** Of the server. */
  index?: number;
}

/** The number of requests in each window. */
function countByWindow(journal: readonly JournalEntry[]): number[] {
  return [...Map.groupBy(journal, ({ resetAt }) => resetAt).values()].map(({ length }) => length);
}

function countRequests(journal: readonly JournalEntry[], name: string): number {
  return journal.filter(({ url }) => url.endsWith(`&q=${name}`)).length;
}

/** The headers of Okta's rate limit with a window that ends in a minute. */
function stateLimit(limit: number): Record<string, string> {
  return {
    'x-rate-limit-limit': String(limit),
    'x-rate-limit-remaining': String(limit - 1),
    'x-rate-limit-reset': String(Math.floor(Date.now() / 1_000) + 60),
  };
}

const newCallers = (count: number) =>
  Promise.all(Array.from({ length: count }, () => organisation.newKey(['connections:use'])));

describe('the rate budget of a connection', () => {
  it('lets 30 callers of all servers spend half of the limit in each window, in turn, and loses no request', async () => {
    const [greedy = '', ...others] = await newCallers(30);
    await okta.setLimit(60, 4);
    const leaving = new AbortController();
    const many = Array.from({ length: 100 }, (_, index) =>
      use(`${users}&q=many`, { wait: 60, index, apiKey: greedy, signal: leaving.signal }).catch(
        () => undefined,
      ),
    );
    const once = others.map((apiKey, index) => use(`${users}&q=once`, { wait: 60, index, apiKey }));
    expect((await Promise.all(once)).map(({ status }) => status)).toEqual(others.map(() => 200));
    const journal = await okta.takeJournal();
    expect(countRequests(journal, 'once')).toBe(others.length);
    // First in, first out would be all 100.
    expect(countRequests(journal, 'many')).toBeLessThan(70);

    leaving.abort();
    await Promise.all(many);
    await use(`${users}&q=last`, { wait: 60 });
    await use(`${users}&q=last`, { wait: 60 });
    const rest = await okta.takeJournal();
    expect(Math.max(...countByWindow([...journal, ...rest]))).toBe(30);
    // Callers that have left are not waited for.
    expect(countRequests(rest, 'many')).toBeLessThanOrEqual(30);
  });

  it('is not exceeded by callers that do not wait: they get UPSTREAM_RATE_LIMITED with Retry-After', async () => {
    await okta.setLimit(20);
    expect((await use(users)).status).toBe(200);
    const answers = await Promise.all(Array.from({ length: 30 }, (_, index) => use(users, { index })));
    const refused = answers.filter(({ status }) => status === 503);
    expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['UPSTREAM_RATE_LIMITED']));
    expect(refused).toHaveLength(21);
    for (const { retryAfter } of refused) expect(retryAfter).toBeGreaterThan(0);
    for (const { retryAfter } of refused) expect(retryAfter).toBeLessThanOrEqual(63);
    expect(refused[0]?.problem).toContain('Prefer: wait');
    expect(refused[0]?.problem).toContain('which all of its callers spend together');
    expect(await okta.takeJournal()).toHaveLength(10);
  });
});

describe('waiting for the rate budget', () => {
  it('is refused at once beyond 128 requests of a caller, and if the wait ends before the window', async () => {
    await okta.setLimit(2);
    expect((await use(users)).status).toBe(200);
    expect((await use(users, { wait: 1 })).code).toBe('UPSTREAM_RATE_LIMITED');
    const leaving = new AbortController();
    const refused: string[] = [];
    const { promise: twelveAreRefused, resolve } = Promise.withResolvers<void>();
    const all = Array.from({ length: 140 }, async () => {
      const { problem } = await use(users, { wait: 65, signal: leaving.signal });
      refused.push(problem);
      if (refused.length === 12) resolve();
    });
    await twelveAreRefused;
    leaving.abort();
    await Promise.allSettled(all);
    expect(refused).toHaveLength(12);
    for (const problem of refused) expect(problem).toContain('Too many requests wait');
    expect(await okta.takeJournal()).toHaveLength(1);
  });
});

describe('a 429 of the app', () => {
  /** Lets the host answer requests, but verifications, in turn; the last answer repeats. */
  const connectToHost = async (...answers: Behaviour[]) => {
    host.behave(handleFakeOkta);
    id = await connectTo(host.origin);
    let count = 0;
    const inTurn: Behaviour = (request, response) => {
      const answer = answers[Math.min(count, answers.length - 1)];
      count += 1;
      answer?.(request, response);
    };
    host.behave(withToken(inTurn));
    return () => count;
  };
  const ok: Behaviour = (_, response) => void response.writeHead(200, stateLimit(60)).end('[]');
  const refuse =
    (headers: () => Record<string, string>): Behaviour =>
    (_, response) =>
      void response.writeHead(429, headers()).end('{"errorCode":"E0000047"}');
  const forAMinute = refuse(() => ({ ...stateLimit(60), 'x-rate-limit-remaining': '0' }));

  it('stops all servers until the reset, and the caller gets it as it is', async () => {
    const sent = await connectToHost(ok, forAMinute);
    // Every server has a lease.
    await use(users);
    const answers = await Promise.all(servers.map((_, index) => use(users, { index })));
    expect(answers.map(({ status }) => status)).toContain(429);
    const until = sent();
    for (const index of servers.keys()) {
      const { status, code, retryAfter } = await use(users, { index });
      if (status === 429) continue;
      expect([status, code]).toEqual([503, 'UPSTREAM_RATE_LIMITED']);
      expect(retryAfter).toBeGreaterThan(50);
    }
    // Those that had leased before the refusal may learn of it a moment later.
    expect(sent() - until).toBeLessThanOrEqual(servers.length - 1);
    const after = sent();
    for (const index of servers.keys())
      expect((await use(users, { index })).code).toBe('UPSTREAM_RATE_LIMITED');
    expect(sent()).toBe(after);
  });

  it('stops nothing in another bucket, and nothing of another connection', async () => {
    const sent = await connectToHost(forAMinute, ok);
    expect((await use(users)).status).toBe(429);
    expect((await use('/api/v1/groups')).status).toBe(200);
    id = await connectTo(okta.origin);
    expect((await use(users)).status).toBe(200);
    expect(sent()).toBe(2);
  });

  it('stops requests for its Retry-After, or for a second, if it states no reset', async () => {
    await connectToHost(refuse(() => ({ 'retry-after': '40', 'x-rate-limit-limit': '0' })));
    await use(users);
    expect((await use(users)).retryAfter).toBeGreaterThan(30);
    await connectToHost(
      refuse(() => ({ 'x-rate-limit-limit': '0', 'x-rate-limit-remaining': '0' })),
      ok,
    );
    expect((await use(users)).status).toBe(429);
    expect((await use(users, { wait: 10 })).status).toBe(200);
  });

  it('is repeated once for a GET of a caller that waits, and never for a write', async () => {
    const forASecond = refuse(() => ({ 'retry-after': '1' }));
    const reads = await connectToHost(forASecond, ok);
    expect([(await use(users, { wait: 10 })).status, reads()]).toEqual([200, 2]);
    const twice = await connectToHost(forASecond, forASecond, ok);
    expect([(await use(users, { wait: 10 })).status, twice()]).toEqual([429, 2]);
    const writes = await connectToHost(forASecond, ok);
    const init = { method: 'POST', body: '{}', wait: 10 };
    expect([(await use('/api/v1/users', init)).status, writes()]).toEqual([429, 1]);
  });

  it('stops updates of credentials too, which change nothing', async () => {
    const sent = await connectToHost(forAMinute);
    expect((await use('/api/v1/users/me')).status).toBe(429);
    const input = { credentials: { apiToken: 'another-good-token' } };
    const [error] = await errorsOf(organisation.client.request(updateMutation, { id, input }));
    expect(error?.extensions.code).toBe('UPSTREAM_RATE_LIMITED');
    expect(sent()).toBe(1);
  });

  it('stops verifications too, and the stored result stays', async () => {
    const sent = await connectToHost(forAMinute);
    expect((await use('/api/v1/users/me')).status).toBe(429);
    const verify =
      'mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { verification { status } } } }';
    const [error] = await errorsOf(organisation.client.request(verify, { id }));
    expect(error?.extensions.code).toBe('UPSTREAM_RATE_LIMITED');
    expect(sent()).toBe(1);
    const read = 'query ($id: UUID!) { appConnection(id: $id) { verification { status } } }';
    expect(await organisation.client.request(read, { id })).toEqual({
      appConnection: { verification: { status: 'VERIFIED' } },
    });
  });

  it('does not follow from a connection that breaks: a GET is repeated once, a write is not', async () => {
    const breakOff: Behaviour = (request) => void request.socket.destroy();
    const once = await connectToHost(breakOff, ok);
    expect([(await use(users)).status, once()]).toEqual([200, 2]);
    const always = await connectToHost(breakOff);
    expect([(await use(users)).code, always()]).toEqual(['UPSTREAM_UNREACHABLE', 2]);
    const writes = await connectToHost(breakOff, ok);
    const { code } = await use('/api/v1/users', { method: 'POST', body: '{}' });
    expect([code, writes()]).toEqual(['UPSTREAM_UNREACHABLE', 1]);
  });
});

describe('the limit of an app', () => {
  it('is learnt with four requests at a time, while others wait', async () => {
    host.behave(handleFakeOkta);
    id = await connectTo(host.origin);
    const { promise: mayAnswer, resolve: answer } = Promise.withResolvers<void>();
    const { promise: fourArrived, resolve: arrived } = Promise.withResolvers<void>();
    let atFirst = 0;
    let isAnswered = false;
    host.behave((_, response) => {
      if (!isAnswered) atFirst += 1;
      if (atFirst === 4) arrived();
      void mayAnswer.then(() => response.writeHead(200, stateLimit(600)).end('[]'));
    });
    const all = Promise.all(Array.from({ length: 20 }, (_, index) => use(users, { index })));
    await fourArrived;
    isAnswered = true;
    answer();
    expect((await all).map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200));
    expect(atFirst).toBe(4);
  });

  it('is learnt from requests whose callers leave before the response', async () => {
    host.behave(handleFakeOkta);
    id = await connectTo(host.origin);
    let arrived = 0;
    const { promise: mayAnswer, resolve: answer } = Promise.withResolvers<void>();
    host.behave((_, response) => {
      arrived += 1;
      void mayAnswer.then(() => response.writeHead(200, stateLimit(600)).end('[]'));
    });
    const leaving = Array.from({ length: 4 }, async () => {
      const leave = new AbortController();
      const before = arrived;
      const left = use(users, { signal: leave.signal }).catch(() => 'left');
      await expect.poll(() => arrived).toBeGreaterThan(before);
      leave.abort();
      return left;
    });
    expect(await Promise.all(leaving)).toEqual(['left', 'left', 'left', 'left']);
    const next = use(users);
    answer();
    expect((await next).status).toBe(200);
  });

  it.each([
    ['unknown', undefined],
    ['known', 12],
  ])('that is %s loses no permit to requests that are not sent', async (_, limit) => {
    host.behave(handleFakeOkta);
    id = await connectTo(host.origin);
    let sent = 0;
    host.behave((_, response) => {
      sent += 1;
      response.writeHead(200, { ...stateLimit(limit ?? 12), 'x-rate-limit-remaining': String(12 - sent) });
      response.end('[]');
    });
    if (limit) expect((await use(users)).status).toBe(200);
    const tooLarge = { method: 'POST', body: Buffer.alloc(64 * 1024 + 1) };
    // On one server: what another one has leased would be missing.
    for (const _ of Array.from({ length: 12 }))
      expect((await use('/api/v1/users', tooLarge)).status).toBe(413);
    const answers = [];
    for (const _ of Array.from({ length: 7 - sent })) answers.push((await use('/api/v1/users')).status);
    expect(answers).toEqual([...answers.slice(1).map(() => 200), 503]);
    expect(sent).toBe(6);
  });

  it('is not exceeded when others spend what the connection could', async () => {
    host.behave(handleFakeOkta);
    id = await connectTo(host.origin);
    let sent = 0;
    host.behave((_, response) => {
      sent += 1;
      const remaining = String(Math.max(0, 3 - sent));
      response.writeHead(200, { ...stateLimit(100), 'x-rate-limit-remaining': remaining }).end('[]');
    });
    const answers: (string | number)[] = [];
    for (const index of Array.from({ length: 6 }).keys()) answers.push((await use(users, { index })).status);
    // Which server gets the last permit depends on the order in which they ask.
    expect(answers.toSorted()).toEqual([200, 200, 200, 503, 503, 503]);
  });

  it('has its end by the clock of the app, also if that is an hour ahead and headers are doubled', async () => {
    host.behave(handleFakeOkta);
    id = await connectTo(host.origin);
    const theirTime = Date.now() + 3_600_000;
    const reset = String(Math.floor(theirTime / 1_000) + 30);
    host.behave((_, response) => {
      response
        .writeHead(200, {
          date: new Date(theirTime).toUTCString(),
          'x-rate-limit-limit': ['2', '2'],
          'x-rate-limit-remaining': ['1', '1'],
          'x-rate-limit-reset': [reset, reset],
        })
        .end('[]');
    });
    expect((await use(users)).status).toBe(200);
    const { code, retryAfter } = await use(users);
    expect(code).toBe('UPSTREAM_RATE_LIMITED');
    expect(retryAfter).toBeLessThanOrEqual(32);
  });

  it('has its first requests in the verification of the create', async () => {
    await okta.setLimit(20);
    id = await connectTo(okta.origin);
    const me = '/api/v1/users/me';
    const statuses: number[] = [];
    for (const _ of Array.from({ length: 11 })) statuses.push((await use(me)).status);
    expect(statuses).toEqual([...Array.from({ length: 9 }, () => 200), 503, 503]);
    expect((await okta.takeJournal()).filter(({ url }) => url === me)).toHaveLength(10);
  });

  it('that responses do not state limits nothing', async () => {
    host.behave(handleFakeOkta);
    id = await connectTo(host.origin);
    host.behave((_, response) => void response.end('[]'));
    const answers = await Promise.all(Array.from({ length: 30 }, (_, index) => use(users, { index })));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 30 }, () => 200));
  });
});

describe('maxShareOfRateLimit of a connection', () => {
  const update = `mutation ($id: UUID!, $share: Int) {
    updateOktaConnection(id: $id, input: { maxShareOfRateLimit: $share }) {
      appConnection { maxShareOfRateLimit version }
    }
  }`;
  const setTo = (share: number | null) => organisation.client.request(update, { id, share });

  it('is 50 by default, is changed in GraphQL and REST, and is audited', async () => {
    const read = 'query ($id: UUID!) { appConnection(id: $id) { maxShareOfRateLimit } }';
    expect(await organisation.client.request(read, { id })).toEqual({
      appConnection: { maxShareOfRateLimit: 50 },
    });
    expect(await setTo(80)).toMatchObject({
      updateOktaConnection: { appConnection: { maxShareOfRateLimit: 80 } },
    });
    const rest = restClient(serverAt(0).url, organisation.apiKey);
    const path = `/api/v1/app-connections/okta/${id}`;
    const changed = await rest('PATCH', path, { maxShareOfRateLimit: 20 });
    expect([changed.status, at(changed.body, 'appConnection', 'maxShareOfRateLimit')]).toEqual([200, 20]);
    await setTo(null);
    expect(await organisation.client.request(read, { id })).toEqual({
      appConnection: { maxShareOfRateLimit: 50 },
    });
    const trail = `{ auditEvents(filter: { action: UPDATE_CONNECTION, connectionId: "${id}" }) { nodes { changedFields } } }`;
    expect(await organisation.client.request(trail)).toEqual({
      auditEvents: { nodes: [1, 2, 3].map(() => ({ changedFields: ['maxShareOfRateLimit'] })) },
    });
  });

  it.each([0, 101])('is refused with BAD_USER_INPUT: %i', async (share) => {
    const [error] = await errorsOf(setTo(share));
    expect(error?.extensions.code).toBe('BAD_USER_INPUT');
    expect(error?.extensions.issues?.[0]?.path).toEqual(['input', 'maxShareOfRateLimit']);
  });

  it('decides how much is spent', async () => {
    await okta.setLimit(20);
    await setTo(10);
    const answers: number[] = [];
    for (const index of Array.from({ length: 4 }).keys()) answers.push((await use(users, { index })).status);
    expect(answers).toEqual([200, 200, 503, 503]);
  });
});

describe('requests in GraphQL', () => {
  it('wait for the rate budget with `Prefer: wait`, typed reads too', async () => {
    await okta.setLimit(4, 2);
    const document = `query ($id: UUID!) {
      oktaUsers(connectionId: $id, first: 1) { nodes { id } }
      oktaResponse(connectionId: $id, path: "/api/v1/groups") { status }
    }`;
    const ask = (headers = {}) => organisation.client.rawRequest<object>(document, { id }, headers);
    for (const _ of [1, 2]) await ask();
    const errors = await errorsOf(ask());
    expect(errors.map(({ extensions }) => extensions.code)).toEqual([
      'UPSTREAM_RATE_LIMITED',
      'UPSTREAM_RATE_LIMITED',
    ]);
    const { data } = await ask({ prefer: 'wait=30' });
    expect(data).toMatchObject({ oktaUsers: { nodes: [{}] }, oktaResponse: { status: 200 } });
  });
});

describe.runIf(testDatabaseUrl)('a server that is killed in the middle of a response', () => {
  it('leaves a budget that the others spend in full and do not exceed, and right counts', async () => {
    const { location, rootKey } = serverAt(0);
    if (location.kind !== 'postgresql') throw new Error('The server has no PostgreSQL.');
    await using killed = spawnServer({
      DATABASE_URL: location.url.reveal(),
      ENCRYPTION_KEYS: rootKey,
      TRUSTED_INSTANCE_HOSTS: okta.hostPort,
    });
    const url = await killed.ready();
    await okta.setLimit(40, 6);
    const useKilled = (path: string) =>
      fetch(`${url}/api/v1/app-connections/okta/${id}/proxy${path}`, {
        headers: { authorization: `Bearer ${organisation.apiKey}` },
      });
    const streamed = (await useKilled('/api/v1/stand-in/bytes/90000000')).body?.getReader();
    expect((await streamed?.read())?.value?.length).toBeGreaterThan(0);
    for (const _ of [1, 2, 3]) expect((await useKilled(users)).status).toBe(200);
    killed.kill('SIGKILL');
    await killed.ended();
    const readOn = async () => {
      while (!(await streamed?.read())?.done);
    };
    await expect(readOn()).rejects.toThrow();

    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, index) => use(users, { wait: 60, index })),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    const journal = await okta.takeJournal();
    const sent = countByWindow(journal.filter(({ url: path }) => path === users));
    expect(sent.reduce((sum, count) => sum + count)).toBe(63);
    // Of the window in which it was killed, what it had leased is lost; the next one is spent in full.
    expect(Math.max(...sent)).toBe(20);

    const read = `query ($id: UUID!) {
      appConnection(id: $id) { usage { total { calls outcomes { outcome calls } } } }
    }`;
    const readOutcomes = async () => {
      const usage = await organisation.client.request<object>(read, { id });
      return at(usage, 'appConnection', 'usage', 'total', 'outcomes');
    };
    // Those of the killed server may have been stored.
    await expect
      .poll(readOutcomes, { interval: 500 })
      .toEqual([{ outcome: 'OK', calls: expect.toSatisfy((calls) => calls >= 60 && calls <= 63) }]);
  });
});

describe('executeOktaRequest', () => {
  it('waits for the rate budget with preferWaitSeconds, and fails with UPSTREAM_RATE_LIMITED without it', async () => {
    await okta.setLimit(4, 2);
    const execute = `mutation ($id: UUID!, $wait: Int) {
      executeOktaRequest(
        input: { connectionId: $id, method: GET, path: "/api/v1/users", query: "limit=1", preferWaitSeconds: $wait }
      ) { status rateLimit { limit remaining } }
    }`;
    const ask = (wait?: number) => organisation.client.request<object>(execute, { id, wait });
    expect(await ask()).toEqual({
      executeOktaRequest: { status: 200, rateLimit: { limit: 4, remaining: 3 } },
    });
    await ask();
    const [error] = await errorsOf(ask());
    expect(error?.extensions.code).toBe('UPSTREAM_RATE_LIMITED');
    expect(error?.extensions.retryAt).toMatch(/^\d{4}-/);
    expect(await ask(30)).toMatchObject({ executeOktaRequest: { status: 200 } });
  });
});
