import { createHook } from 'node:async_hooks';
import { gql } from 'graphql-request';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { bufferedLimits } from '../src/outbound/bulkhead.ts';
import { createOutbound } from '../src/outbound/create-outbound.ts';
import { systemLookup } from '../src/outbound/dns.ts';
import type { Outbound, OutboundSettings } from '../src/outbound/outbound.ts';
import { slowHeaders, startOkta, type TestOkta } from './testkit/okta.ts';
import { until } from './testkit/process.ts';
import { at, createConnectionOverRest, oktaBody, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { createUrlEntryPoints, parseFailure } from './testkit/url-entry-points.ts';

const routes = '/api/v1/app-connections/okta';
const many = (count: number) => Array.from({ length: count }, (_, index) => index);

const {
  perCaller: maxPerCaller,
  perHost: maxPerHost,
  perOrganisation: maxPerOrganisation,
  perOrganisationAndHost: maxPerOrganisationAndHost,
  total: maxTotal,
} = bufferedLimits;

describe('outbound concurrency limits', () => {
  async function start(settings: Partial<OutboundSettings> = {}) {
    const slow = await startOkta({ handler: slowHeaders });
    const fast = await startOkta();
    const hosts = many(maxTotal / maxPerHost + 1).map((index) => `slow-${index}.test:${slow.port}`);
    const outbound = createOutbound({
      trustedHosts: new Set([...hosts, slow.hostPort, fast.hostPort, `fast.test:${fast.port}`]),
      originOverrides: new Map([['https://example.okta.com', fast.origin]]),
      lookup: async () => [{ address: '127.0.0.1', family: 4 }],
      timeoutMs: 60_000,
      ...settings,
    });
    onTestFinished(async () => {
      await Promise.all([outbound.close(), slow.close(), fast.close()]);
    });
    const get = (origin: string) => outbound.get(new URL(origin), { headers: {} });
    /** Sends concurrent requests that take every slot of a host. */
    const fill = (host: string) => many(maxPerHost).map(() => get(`http://${host}`).catch((error) => error));
    return { slow, fast, hosts, outbound, get, fill };
  }

  test('limit requests to one host, and reject further ones at once with Retry-After', async () => {
    const { slow, fast, get, fill } = await start();
    fill(slow.hostPort);
    await expect.poll(() => slow.requests.length).toBe(maxPerHost);
    const startedAt = Date.now();
    const error = await get(slow.origin).catch((reason) => reason);
    expect(error).toMatchObject({ reason: 'BUSY', message: '64 other requests are waiting for this host' });
    expect(error.retryAt.getTime()).toBeGreaterThanOrEqual(startedAt + 60_000);
    expect(slow.requests).toHaveLength(maxPerHost);
    expect(await get(fast.origin.replace('127.0.0.1', 'fast.test'))).toHaveProperty('status', 404);
  });

  test('limit requests to all hosts, but not to the fake Okta of this server', async () => {
    const { slow, fast, hosts, get, fill } = await start();
    const [last, ...others] = hosts;
    others.map(fill);
    await expect.poll(() => slow.requests.length).toBe(maxTotal);
    for (const host of [last, fast.hostPort]) {
      await expect(get(`http://${host}`)).rejects.toMatchObject({
        reason: 'BUSY',
        message: '256 other requests are waiting for other hosts',
      });
    }
    expect(await get('https://example.okta.com')).toHaveProperty('status', 404);
  });

  test('free the slot however a request ends', async () => {
    const { slow, outbound, get, fill } = await start({ timeoutMs: 500 });
    for (const _ of [1, 2]) {
      const ends = await Promise.all(fill(slow.hostPort));
      expect(new Set(ends.map(({ reason }) => reason))).toEqual(new Set(['TIMEOUT']));
    }
    slow.behave(handleFakeOkta);
    for (const _ of many(maxPerHost + 1)) {
      expect(await get(slow.origin)).toHaveProperty('status', 404);
      const inside = outbound.get(new URL('https://inside.test'), { headers: {} });
      await expect(inside).rejects.toHaveProperty('reason', 'HOST_NOT_ALLOWED');
      const aborted = outbound.get(new URL(slow.origin), { headers: {}, signal: AbortSignal.abort() });
      await expect(aborted).rejects.toHaveProperty('reason', 'ABORTED');
    }
  });

  test('allow 32 slots to a caller, and 64 to an organisation with 48 at one host, and leave the rest to others', async () => {
    const { slow, hosts, outbound } = await start();
    const [first = '', second = '', third = ''] = hosts;
    const sendRequest = (client: Outbound, host: string) =>
      client.get(new URL(`http://${host}`), { headers: {} });
    /** Sends requests without a response until one is refused. */
    const fill = async (client: Outbound, host: string): Promise<unknown> => {
      for (;;) {
        const before = slow.requests.length;
        const refusal = Promise.withResolvers<unknown>();
        sendRequest(client, host).catch(refusal.resolve);
        const arrival = until('the request arrives', () => slow.requests.length > before || undefined);
        const error = await Promise.race([arrival.then(() => undefined), refusal.promise]);
        if (error !== undefined) return error;
      }
    };
    const [one, two, three, other] = [
      { orgId: 'a', callerId: 'a 1' },
      { orgId: 'a', callerId: 'a 2' },
      { orgId: 'a', callerId: 'a 3' },
      { orgId: 'b', callerId: 'b 1' },
    ].map((requester) => outbound.onBehalfOf(requester));
    if (!one || !two || !three || !other) throw new Error('there are four callers');

    expect(await fill(one, first)).toMatchObject({
      reason: 'BUSY',
      message: '32 other requests of this API key or token are waiting for their hosts',
    });
    expect(slow.requests).toHaveLength(maxPerCaller);
    expect(await fill(two, first)).toMatchObject({
      message: '48 other requests of this organisation are waiting for this host',
    });
    expect(slow.requests).toHaveLength(maxPerOrganisationAndHost);
    expect(await fill(three, second)).toMatchObject({
      message: '64 other requests of this organisation are waiting for their hosts',
    });
    expect(slow.requests).toHaveLength(maxPerOrganisation);
    expect(() => two.assertCanGet(new URL(`http://${third}`))).toThrow('64 other requests of this');

    // The other organisation still reaches the same host and another one.
    expect(await fill(other, first)).toMatchObject({
      message: '64 other requests are waiting for this host',
    });
    expect(await fill(other, third)).toMatchObject({ message: expect.stringContaining('32 other requests') });
    expect(slow.requests).toHaveLength(maxPerOrganisation + maxPerCaller);
  });

  test('count a connection attempt also after its caller has disconnected', async () => {
    const names = many(maxPerCaller + 1).map((index) => `silent-${index}.test:80`);
    let lookups = 0;
    const found = Promise.withResolvers<[]>();
    const { outbound } = await start({
      trustedHosts: new Set(names),
      lookup: () => {
        lookups += 1;
        return found.promise;
      },
    });
    const client = outbound.onBehalfOf({ orgId: 'a', callerId: 'a 1' });
    const other = outbound.onBehalfOf({ orgId: 'b', callerId: 'b 1' });
    const hangUp = async (name: string) => {
      const hanging = new AbortController();
      const ending = client.get(new URL(`http://${name}`), { headers: {}, signal: hanging.signal });
      hanging.abort();
      return ending.catch(({ reason }) => reason);
    };
    const ends = [];
    for (const name of names) ends.push(await hangUp(name));
    expect(ends).toEqual([...many(maxPerCaller).map(() => 'ABORTED'), 'BUSY']);
    expect(lookups).toBe(maxPerCaller);
    expect(() => other.assertCanGet(new URL(`http://${names[0]}`))).not.toThrow();
    found.resolve([]);
    await until('the look-ups have ended', () => {
      try {
        client.assertCanGet(new URL(`http://${names[0]}`));
        return true;
      } catch {
        return undefined;
      }
    });
  });

  test('share one DNS lookup between concurrent requests', async () => {
    let lookups = 0;
    const hook = createHook({
      init(_id, type) {
        if (type === 'GETADDRINFOREQWRAP') lookups += 1;
      },
    }).enable();
    const answers = await Promise.all(many(20).map(() => systemLookup('localhost')));
    expect(lookups).toBe(1);
    expect(new Set(answers.map(([first]) => first?.address)).size).toBe(1);
    await systemLookup('localhost');
    hook.disable();
    expect(lookups).toBe(2);
  });
});

describe('requests while Okta does not answer', () => {
  const trusted = new Set<string>();
  let upstream: TestOkta;
  let server: TestServer;
  /** The pending responses of the fake Okta. */
  const held: (() => void)[] = [];
  const release = () => {
    upstream.behave(handleFakeOkta);
    for (const answer of held.splice(0)) answer();
  };
  const hold = () =>
    upstream.behave((request, response) => void held.push(() => handleFakeOkta(request, response)));

  beforeAll(async () => {
    upstream = await startOkta();
    trusted.add(upstream.hostPort);
    server = await startTestServer({
      config: { trustedInstanceHosts: trusted },
      outbound: { timeoutMs: 60_000 },
    });
  });
  afterEach(release);
  afterAll(async () => {
    await server.close();
    await upstream.close();
  });

  async function fresh() {
    const { apiKey } = await server.newOrganisation();
    const rest = restClient(server.url, apiKey);
    const body = (name: string) => oktaBody({ name }, { instanceUrl: upstream.origin });
    return { rest, body, create: (name: string) => rest('POST', routes, body(name)) };
  }

  const verify = gql`
    mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { verification { status failingSince } } } }
  `;

  test('hold no database connection for creates, updates and verifications, and reads are answered', async () => {
    const { rest, body, create } = await fresh();
    const ids: string[] = [];
    for (const index of many(8)) {
      ids.push((await createConnectionOverRest(rest, body(`before-${index}`))).id);
    }
    hold();
    // Far more than the connections in the pool.
    const waiting = [
      ...many(maxPerCaller - 2 * ids.length).map((index) => create(`meanwhile-${index}`)),
      ...ids.map((id) => rest('PATCH', `${routes}/${id}`, { credentials: { apiToken: 'another' } })),
      ...ids.map((id) => rest('POST', '/graphql', { query: verify, variables: { id } })),
    ];
    await until('all requests wait for Okta', () => held.length === waiting.length || undefined);

    const busy = await server
      .asOwner()
      .execute(
        "select state, query from pg_stat_activity where datname = current_database() and state <> 'idle' and pid <> pg_backend_pid()",
      );
    expect(busy).toEqual([]);
    for (const id of ids) expect((await rest('GET', `${routes}/${id}`)).status).toBe(200);
    expect((await rest('POST', routes, oktaBody({ name: 'at-another-okta' }))).status).toBe(200);
    expect(held).toHaveLength(waiting.length);

    release();
    const answers = await Promise.all(waiting);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(answers.filter(({ text }) => text.includes('errors'))).toEqual([]);
  });

  test('are rejected at once beyond the limit, with Retry-After, without rows or events', async () => {
    const { rest, body, create } = await fresh();
    const { id } = await createConnectionOverRest(rest, body('stored'));
    hold();
    const waiting = many(maxPerCaller).map((index) => create(`waiting-${index}`));
    await until('all requests wait for Okta', () => held.length === waiting.length || undefined);

    const refused = [
      ...Object.values(
        createUrlEntryPoints(rest, (await createConnectionOverRest(rest, { name: 'elsewhere' })).id, 'any'),
      ).map((send) => send(upstream.origin)),
      rest('POST', '/graphql', { query: verify, variables: { id } }),
    ];
    for (const answer of await Promise.all(refused)) {
      expect(parseFailure(answer)).toEqual({
        code: 'UPSTREAM_UNREACHABLE',
        message:
          'No request was sent to Okta: 32 other requests of this API key or token are waiting for their hosts.',
        remedy: expect.stringMatching(/^Send the request again after \S+Z; nothing was changed\.$/),
        retryAt: expect.stringMatching(/Z$/),
        fields: [],
      });
    }
    // Okta's organisation id cannot be read either, which must not be reported as a different organisation.
    const { headers, ...moved } = await rest('PATCH', `${routes}/${id}`, {
      credentials: { instanceUrl: 'https://example.okta.com', apiToken: 'any' },
    });
    expect(parseFailure({ headers, ...moved }).message).toMatch(/^No request was sent to Okta/);
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(30);

    release();
    expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual(waiting.map(() => 200));
    const { body: list } = await rest('GET', `${routes}?limit=100`);
    expect(at(list, 'appConnections', 'length')).toBe(waiting.length + 2);
    const events = await rest('POST', '/graphql', {
      query: '{ auditEvents(first: 100) { nodes { outcome } } }',
    });
    expect(events.text).toContain('"outcome":"OK"');
    expect(events.text).not.toContain('UPSTREAM_UNREACHABLE');
    const { text } = await rest('POST', '/graphql', {
      query: 'query ($id: UUID!) { appConnection(id: $id) { version verification { status failingSince } } }',
      variables: { id },
    });
    expect(at(JSON.parse(text), 'data', 'appConnection')).toEqual({
      version: 1,
      verification: { status: 'VERIFIED', failingSince: null },
    });
  });
});
