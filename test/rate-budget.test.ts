import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { testDatabaseUrl } from './testkit/database.ts';
import { type JournalEntry, type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { at, createConnectionOverRest, restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 120_000 });

const token = '00QCjAl4MlV-WPXM_A5B6C7D8E9F0GhIjKlMnOpQrS';
let okta: OktaStandIn;
/** Servers of one database; one on the embedded database. */
let servers: TestServer[];
let organisation: TestOrganisation;

beforeAll(async () => {
  okta = await startOktaStandIn();
  const config = { trustedInstanceHosts: new Set([okta.hostPort]) };
  const one = await startTestServer({ config });
  const others = testDatabaseUrl ? [1, 2].map(() => startTestServer({ config, beside: one })) : [];
  servers = [one, ...(await Promise.all(others))];
  organisation = await one.newOrganisation();
});
afterAll(async () => {
  for (const server of servers.toReversed()) await server.close();
  await okta[Symbol.asyncDispose]();
});

let connections = 0;
let id: string;
beforeEach(async () => {
  await okta.setLimit(600);
  connections += 1;
  const rest = restClient(serverAt(0).url, organisation.apiKey);
  const credentials = { instanceUrl: okta.origin, apiToken: token };
  id = (await createConnectionOverRest(rest, { name: `connection-${connections}`, credentials })).id;
  await rest('PUT', `/api/v1/app-connections/okta/${id}/use-policy`, {
    rules: [{ effect: 'ALLOW', path: '/**' }],
  });
  await okta.takeJournal();
});

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

function countOf(journal: readonly JournalEntry[], name: string): number {
  return journal.filter(({ url }) => url.endsWith(`&q=${name}`)).length;
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
    expect(countOf(journal, 'once')).toBe(others.length);
    // First in, first out would be all 100.
    expect(countOf(journal, 'many')).toBeLessThan(70);

    leaving.abort();
    await Promise.all(many);
    await use(`${users}&q=last`, { wait: 60 });
    await use(`${users}&q=last`, { wait: 60 });
    const rest = await okta.takeJournal();
    expect(Math.max(...countByWindow([...journal, ...rest]))).toBe(30);
    // Callers that have left are not waited for.
    expect(countOf(rest, 'many')).toBeLessThanOrEqual(30);
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
    expect(await okta.takeJournal()).toHaveLength(10);
  });
});
