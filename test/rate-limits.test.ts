import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { readConfig } from '../src/config/read-config.ts';
import { unattributedOrgId } from '../src/identity/organisations.ts';
import { type Created, createMutation, okta } from './testkit/operations.ts';
import {
  collectCodes,
  type RateLimitResponse,
  sendGraphQL,
  sendRest,
  startRateLimitedServer,
} from './testkit/rates.ts';
import { oktaBody, restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

// Some of these start servers, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const times = <T>(count: number, what: T): T[] => Array.from({ length: count }, () => what);

/** Asserts that a response is a complete RATE_LIMITED error. */
function expectRateLimited(answer: RateLimitResponse): void {
  expect(answer).toMatchObject({
    status: 429,
    code: 'RATE_LIMITED',
    remedy: expect.stringContaining('retryAt'),
  });
  const seconds = (Date.parse(answer.retryAt ?? '') - Date.now()) / 1_000;
  expect(Number(answer.retryAfter)).toBeGreaterThanOrEqual(1);
  // Retry-After is rounded up, and time has passed since.
  expect(Math.abs(Number(answer.retryAfter) - seconds)).toBeLessThan(2);
}

const watching = 'subscription ($after: String) { appConnectionChanged(after: $after) { kind } }';

/** Opens a subscription. It stays open until `leave` is called, or `signal` aborts it. */
async function open(server: TestServer, apiKey: string, variables = {}, signal?: AbortSignal) {
  const response = await fetch(server.graphqlUrl, {
    method: 'POST',
    signal: signal ?? null,
    headers: {
      authorization: `Bearer ${apiKey}`,
      'content-type': 'application/json',
      accept: 'text/event-stream',
    },
    body: JSON.stringify({ query: watching, variables }),
  });
  // Node closes the connection of a response that is collected as garbage. `leave` keeps it.
  return { status: response.status, leave: () => response.body?.cancel() };
}

describe('rate limit of an organisation', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startRateLimitedServer({ organisation: { points: 7, leaseSize: 3 } });
  });
  afterAll(() => server.close());

  test('counts requests of all its keys over GraphQL and REST together', async () => {
    const organisation = await server.newOrganisation();
    const keys = await Promise.all(times(4, 0).map(() => organisation.newKey(['connections:read'])));
    const send = (index: number) => (index % 2 ? sendRest : sendGraphQL)(server, { apiKey: keys[index % 4] });
    expect(await collectCodes(9, send)).toEqual([...times(7, 'OK'), ...times(2, 'RATE_LIMITED')]);
    expectRateLimited(await sendGraphQL(server, { apiKey: organisation.apiKey }));
    expectRateLimited(await sendRest(server, { apiKey: organisation.apiKey }));
  });

  test('holds for concurrent requests from many addresses', async () => {
    const organisation = await server.newOrganisation();
    const keys = await Promise.all(times(10, 0).map(() => organisation.newKey(['connections:read'])));
    const requests = keys.flatMap((apiKey, index) =>
      times(3, 0).map(() => sendGraphQL(server, { apiKey, address: `198.51.100.${index}` })),
    );
    const answers = await Promise.all(requests);
    expect(answers.filter(({ code }) => code === undefined)).toHaveLength(7);
  });

  test('does not count requests of another organisation', async () => {
    const [one, another] = [await server.newOrganisation(), await server.newOrganisation()];
    const send = ({ apiKey }: TestOrganisation) => collectCodes(8, () => sendGraphQL(server, { apiKey }));
    const expected = [...times(7, 'OK'), 'RATE_LIMITED'];
    expect([await send(one), await send(another)]).toEqual([expected, expected]);
  });
});

describe('rate limit of an unauthenticated client is applied before its request is parsed:', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startRateLimitedServer({ unauthenticated: { points: 2, leaseSize: 1 } });
  });
  afterAll(() => server.close());

  const post = (body: string | ReadableStream, headers: Record<string, string> = {}) => ({
    ...{ method: 'POST', body, duplex: 'half' },
    headers: { authorization: 'Bearer unknown-key', 'content-type': 'application/json', ...headers },
  });
  const endless = () =>
    new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode('{"query":')) });
  let address = 0;
  test.each<[string, string, () => object]>([
    ['a body that is not JSON', '', () => post('['.repeat(90_000))],
    ['a body that is not JSON, on the slow path', '', () => post('{', { accept: '*/*;q=1' })],
    ['a body that is too large', '', () => post('x'.repeat(200_000))],
    ['a body that does not end', '', () => post(endless())],
    ['a body of another type', '', () => post('query=x', { 'content-type': 'text/plain' })],
    [
      'a document that does not parse, with GET',
      `?query=${'{'.repeat(5_000)}&variables={`,
      () => ({ headers: { authorization: 'Bearer unknown-key' } }),
    ],
  ])('%s', async (_, query, init) => {
    address += 1;
    const send = async () => {
      const { headers, ...rest } = init() as RequestInit;
      const response = await fetch(`${server.graphqlUrl}${query}`, {
        ...rest,
        headers: { ...headers, 'x-forwarded-for': `198.51.100.${address}` },
      } as RequestInit);
      await response.body?.cancel();
      return response.status;
    };
    expect([await send(), await send(), await send()]).toEqual([401, 401, 429]);
  });
});

describe('rate limit of a caller', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startRateLimitedServer({ caller: { points: 7, leaseSize: 3 } });
  });
  afterAll(() => server.close());

  test('counts requests over GraphQL and REST together, and returns Retry-After', async () => {
    const { apiKey } = await server.newOrganisation();
    const send = (index: number) => (index % 2 ? sendRest : sendGraphQL)(server, { apiKey });
    expect(await collectCodes(9, send)).toEqual([...times(7, 'OK'), ...times(2, 'RATE_LIMITED')]);
    expectRateLimited(await sendGraphQL(server, { apiKey }));
    expectRateLimited(await sendRest(server, { apiKey }));
  });

  test('holds for concurrent requests', async () => {
    const { apiKey } = await server.newOrganisation();
    const answers = await Promise.all(times(30, apiKey).map((apiKey) => sendGraphQL(server, { apiKey })));
    expect(answers.filter(({ code }) => code === undefined)).toHaveLength(7);
  });

  test('is separate for each caller, and shared by all addresses of a caller', async () => {
    const organisation = await server.newOrganisation();
    const another = await organisation.newKey(['connections:read']);
    const from = (apiKey: string) => (index: number) =>
      sendGraphQL(server, { apiKey, address: `198.51.100.${index}` });
    expect(await collectCodes(8, from(organisation.apiKey))).toEqual([...times(7, 'OK'), 'RATE_LIMITED']);
    expect(await collectCodes(7, from(another))).toEqual(times(7, 'OK'));
  });

  test('counts a subscription once', async () => {
    const { apiKey } = await server.newOrganisation();
    const { status, leave } = await open(server, apiKey);
    expect(status).toBe(200);
    // An open subscription checks its key every two seconds.
    const looks = () => server.logs().match(/select .*api_key/g)?.length ?? 0;
    const before = looks();
    await expect.poll(looks).toBeGreaterThanOrEqual(before + 2);
    expect(await collectCodes(7, () => sendGraphQL(server, { apiKey }))).toEqual([
      ...times(6, 'OK'),
      'RATE_LIMITED',
    ]);
    expect((await open(server, apiKey)).status).toBe(429);
    await leave();
  });

  test('logs a line when exceeded, and records no audit event', async () => {
    const { apiKey, orgId } = await server.newOrganisation();
    await collectCodes(7, () => sendGraphQL(server, { apiKey }));
    const { requestId, code } = await sendGraphQL(server, { apiKey, address: '203.0.113.9' });
    expect(code).toBe('RATE_LIMITED');
    const line = () =>
      server
        .logs()
        .split('\n')
        .filter((each) => each.includes(`${requestId}`) && each.includes('"msg":"request"'))
        .map((each) => JSON.parse(each));
    await expect.poll(line).toMatchObject([{ outcome: 'RATE_LIMITED', address: '203.0.113.9', status: 429 }]);
    const events = 'select count(*)::int as count from audit_event where org_id = ?';
    expect(await server.asOwner().execute(events, [orgId], 'get')).toEqual({ count: 0 });
  });
});

test('allows requests again after the window', async () => {
  const server = await startRateLimitedServer({ caller: { points: 2, leaseSize: 1 }, windowSeconds: 2 });
  const { apiKey } = await server.newOrganisation();
  const code = async () => (await sendGraphQL(server, { apiKey })).code ?? 'OK';
  for (const next of ['OK', 'RATE_LIMITED', 'OK', 'RATE_LIMITED']) {
    await expect.poll(code).toBe(next);
  }
  await server.close();
});

describe('rate limit of an address', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startRateLimitedServer({
      unauthenticated: { points: 6, leaseSize: 2 },
      failedAuthentication: { points: 3, leaseSize: 1 },
    });
  });
  afterAll(() => server.close());

  test('limits unauthenticated requests over GraphQL and REST', async () => {
    const production = await startRateLimitedServer(
      { unauthenticated: { points: 5, leaseSize: 2 } },
      { config: { production: true, graphiql: false, trustedProxies: [] } },
    );
    // X-Forwarded-For entries that the client sends itself do not count.
    const send = (index: number) =>
      (index % 2 ? sendRest : sendGraphQL)(production, { address: `192.0.2.${index}` });
    expect(await collectCodes(6, send)).toEqual([...times(5, 'UNAUTHENTICATED'), 'RATE_LIMITED']);
    expectRateLimited(await sendGraphQL(production, {}));
    expectRateLimited(await sendRest(production, {}));
    await production.close();
  });

  test('limits schema reads without a key in development', async () => {
    const client = { address: '192.0.2.3' };
    const send = () => sendGraphQL(server, client, '{ __schema { queryType { name } } }');
    expect(await collectCodes(7, send)).toEqual([...times(6, 'OK'), 'RATE_LIMITED']);
  });

  test('applies to an IPv6 network as a whole', async () => {
    const send = (index: number) => sendRest(server, { address: `2001:db8:1:2:${index}::7` });
    expect(await collectCodes(7, send)).toEqual([...times(6, 'UNAUTHENTICATED'), 'RATE_LIMITED']);
    expect((await sendRest(server, { address: '2001:db8:1:3::7' })).code).toBe('UNAUTHENTICATED');
  });

  test('limits failed authentication', async () => {
    const client = { address: '192.0.2.4', apiKey: 'an-unknown-key-an-unknown-key-an-unknown-key' };
    const send = () => sendGraphQL(server, client);
    expect(await collectCodes(4, send)).toEqual([...times(3, 'UNAUTHENTICATED'), 'RATE_LIMITED']);
    expectRateLimited(await sendGraphQL(server, client));
    const logLines = server
      .asOwner()
      .execute(
        "select count(*)::int as count from audit_event where org_id = ? and address = '192.0.2.4'",
        [unattributedOrgId],
        'get',
      );
    expect(await logLines).toEqual({ count: 1 });
  });

  test('does not throttle a valid key behind an address with failed authentication, known or new', async () => {
    const organisation = await server.newOrganisation();
    const [used, fresh] = [organisation.apiKey, await organisation.newKey(['connections:read'])];
    const address = '192.0.2.5';
    expect((await sendGraphQL(server, { apiKey: used, address })).code).toBeUndefined();
    const bad = () => sendGraphQL(server, { apiKey: randomUUID().repeat(2), address });
    expect(await collectCodes(4, bad)).toEqual([...times(3, 'UNAUTHENTICATED'), 'RATE_LIMITED']);
    for (const apiKey of [used, fresh]) {
      expect((await sendGraphQL(server, { apiKey, address })).code).toBeUndefined();
    }
  });

  test('does not lock out authenticated callers behind an address with many unauthenticated clients', async () => {
    const organisation = await server.newOrganisation();
    const [used, fresh] = [organisation.apiKey, await organisation.newKey(['connections:read'])];
    const address = '192.0.2.6';
    await sendGraphQL(server, { apiKey: used, address });
    await collectCodes(6, () => sendRest(server, { address }));
    expect((await sendRest(server, { address })).code).toBe('RATE_LIMITED');
    expectRateLimited(await sendGraphQL(server, { apiKey: fresh, address }));
    expect(await collectCodes(10, () => sendGraphQL(server, { apiKey: used, address }))).toEqual(
      times(10, 'OK'),
    );
  });
});

describe('rate limit of credential checks', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startRateLimitedServer({
      outbound: { points: 4, leaseSize: 1 },
      outboundOfOrganisation: { points: 6, leaseSize: 1 },
    });
  });
  afterAll(() => server.close());

  const createConnection = ({ apiKey }: TestOrganisation, name: string, key = apiKey) =>
    sendGraphQL(server, { apiKey: key }, createMutation, okta({ name }));
  const update =
    'mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) { updateOktaConnection(id: $id, input: $input) { appConnection { id } } }';
  const verify = 'mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { id } } }';
  const validate =
    'mutation { validateOktaCredentials(credentials: { instanceUrl: "https://example.okta.com", apiToken: "any" }) { status } }';

  test('counts every operation that checks credentials, and no other operation', async () => {
    const organisation = await server.newOrganisation();
    const { apiKey } = organisation;
    const created = (await createConnection(organisation, 'first')).data as Created;
    const { id } = created.createOktaConnection.appConnection;
    const send = (query: string, variables = {}) =>
      sendGraphQL(server, { apiKey }, query, { id, ...variables });
    const renamed = await send(update, { input: { name: 'renamed' } });
    expect(renamed.code).toBeUndefined();
    expect((await createConnection(organisation, 'renamed')).code).toBe('NAME_TAKEN');
    expect((await send(update, { input: { credentials: { apiToken: 'new' } } })).code).toBeUndefined();
    expect((await send(verify)).code).toBeUndefined();
    expect((await send(validate)).code).toBeUndefined();

    const refused = [
      await createConnection(organisation, 'second'),
      await send(update, { input: { credentials: { apiToken: 'newer' } } }),
      await send(update, {
        input: { credentials: { instanceUrl: 'https://other.example.org', apiToken: 'newer' } },
      }),
      await send(verify),
      await send(validate),
    ];
    for (const answer of refused) expectRateLimited(answer);
    const rest = restClient(server.url, apiKey);
    const over = await rest('POST', '/api/v1/app-connections/okta', oktaBody({ name: 'third' }));
    expect(over).toMatchObject({ status: 429, body: { code: 'RATE_LIMITED', retryAt: expect.any(String) } });
    expect(Number(over.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect((await send(update, { input: { name: 'renamed-again' } })).code).toBeUndefined();
    expect((await sendGraphQL(server, { apiKey })).code).toBeUndefined();
    const trail = await server
      .asOwner()
      .execute('select distinct outcome from audit_event where org_id = ? order by outcome', [
        organisation.orgId,
      ]);
    expect(trail).toEqual([{ outcome: 'NAME_TAKEN' }, { outcome: 'OK' }]);
  });

  test('counts for the organisation across its keys, and for no other organisation', async () => {
    const organisation = await server.newOrganisation();
    const keys = [organisation.apiKey];
    for (let index = 0; index < 3; index += 1) {
      keys.push(await organisation.newKey(['connections:read', 'connections:write']));
    }
    const codes = await collectCodes(8, (index) =>
      createConnection(organisation, `c-${index}`, keys[index % 4]),
    );
    expect(codes).toEqual([...times(6, 'OK'), ...times(2, 'RATE_LIMITED')]);
    expect((await createConnection(await server.newOrganisation(), 'mine')).code).toBeUndefined();
  });

  test('rate-limits one field of a mutation without failing the whole request', async () => {
    const { apiKey } = await server.newOrganisation();
    const validation = validate.slice(validate.indexOf('{') + 1, -1);
    const five = `mutation { ${['a', 'b', 'c', 'd', 'e'].map((alias) => `${alias}: ${validation}`).join(' ')} }`;
    const { status, code, data, retryAfter } = await sendGraphQL(server, { apiKey }, five);
    const ok = { status: 'VERIFIED' };
    expect({ status, code, data, retryAfter }).toEqual({
      status: 200,
      code: 'RATE_LIMITED',
      data: { a: ok, b: ok, c: ok, d: ok, e: null },
      retryAfter: null,
    });
  });
});

describe('subscription limit', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startRateLimitedServer({ subscriptions: 2 });
  });
  afterAll(() => server.close());

  test('limits open subscriptions of a caller on one server, and frees a slot when one ends', async () => {
    const organisation = await server.newOrganisation();
    const another = await organisation.newKey(['connections:read']);
    const again = () => open(server, organisation.apiKey);
    const first = await again();
    const second = await again();
    expect([first.status, second.status]).toEqual([200, 200]);
    expect((await again()).status).toBe(429);
    const other = await open(server, another);
    expect(other.status).toBe(200);
    // A subscription that fails takes no slot.
    for (let index = 0; index < 3; index += 1) {
      expect((await open(server, another, { after: 'nonsense' })).status).toBe(200);
    }
    await first.leave();
    const opened = [second, other];
    await expect
      .poll(async () => {
        const third = await again();
        opened.push(third);
        return third.status;
      })
      .toBe(200);
    expect((await again()).status).toBe(429);
    for (const { leave } of opened) await leave();
  });

  test('frees the slot of a subscription whose client disconnects before it begins', async () => {
    const { apiKey } = await server.newOrganisation();
    await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) => {
        const leaving = new AbortController();
        setTimeout(() => leaving.abort(), index);
        return open(server, apiKey, {}, leaving.signal);
      }),
    );
    await expect
      .poll(async () => {
        const both = [await open(server, apiKey), await open(server, apiKey)];
        for (const { leave } of both) await leave();
        return both.map(({ status }) => status);
      })
      .toEqual([200, 200]);
  });
});

test('rate limits are off in development unless RATE_LIMITS=on', async () => {
  const server = await startTestServer({ rates: { caller: { points: 1, leaseSize: 1 }, subscriptions: 0 } });
  const { apiKey } = await server.newOrganisation();
  expect(await collectCodes(5, () => sendGraphQL(server, { apiKey }))).toEqual(times(5, 'OK'));
  await server.close();
});

test('RATE_LIMITS defaults to on in production and off in development, and accepts only on and off', () => {
  const production = {
    NODE_ENV: 'production',
    DATABASE_URL: 'postgresql://127.0.0.1/any',
    ENCRYPTION_KEYS: 'k1:any',
  };
  expect(readConfig({}).rateLimits).toBe(false);
  expect(readConfig({ RATE_LIMITS: 'on' }).rateLimits).toBe(true);
  expect(readConfig(production).rateLimits).toBe(true);
  expect(readConfig({ ...production, RATE_LIMITS: 'off' }).rateLimits).toBe(false);
  expect(() => readConfig({ RATE_LIMITS: 'yes' })).toThrow(/^RATE_LIMITS must be "on" or "off"$/);
});
