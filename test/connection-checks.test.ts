import { gql } from 'graphql-request';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { deleteOldHistory } from '../src/connections/checks/delete-old-history.ts';
import { makeDue, moveChecks } from './testkit/check-schedule.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import {
  behavingAt,
  failing,
  json,
  notJson,
  rateLimited,
  slowHeaders,
  startOkta,
  type TestOkta,
  tokenPath,
  tokenRejected,
} from './testkit/okta.ts';
import {
  type Created,
  createConnection,
  createMutation,
  updateMutation,
  verifyMutation,
} from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

const stack = new AsyncDisposableStack();
let server: TestServer;
let [okta, other] = [] as unknown as [TestOkta, TestOkta];
beforeAll(async () => {
  okta = stack.use(await startOkta());
  other = stack.use(await startOkta());
  const options = {
    checkIntervalMs: 100,
    expiryIntervalMs: 100,
    outbound: { timeoutMs: 2_000 },
    config: { trustedInstanceHosts: new Set([okta.hostPort, other.hostPort]) },
  };
  server = await startTestServer(options);
  stack.defer(() => server.close());
  if (!testDatabaseUrl) return;
  // The embedded database has one server.
  const second = await startTestServer({ ...options, beside: server });
  stack.defer(() => second.close());
});
afterAll(() => stack.disposeAsync());
afterEach(() => {
  for (const each of [okta, other]) each.behave(accepting);
});

const healthQuery = gql`
  query Health($id: UUID!) {
    appConnection(id: $id) {
      checkEvery lastUsedAt verification { status details { __typename } }
      health { status since lastCheckAt nextCheckAt lastGoodAt expiresAt expiryReason checkDelay { since code message } }
    }
  }
`;

interface HealthFields {
  checkEvery: number;
  lastUsedAt: string | null;
  verification: { status: string; details: object | null };
  health: Record<
    'status' | 'since' | 'lastCheckAt' | 'nextCheckAt' | 'lastGoodAt' | 'expiresAt' | 'expiryReason',
    string | null
  > & { checkDelay: { since: string; code: string; message: string } | null };
}

const accepting = handleFakeOkta;

let names = 0;
function connect(organisation: TestOrganisation, { origin } = okta, apiToken = 'a-good-token') {
  names += 1;
  return createConnection(organisation, { name: `checked-${names}` }, { instanceUrl: origin, apiToken });
}

async function read({ client }: TestOrganisation, id: string): Promise<HealthFields> {
  const { appConnection } = await client.request<{ appConnection: HealthFields }>(healthQuery, { id });
  return appConnection;
}

/** Reads a connection until it meets a condition. */
const readUntil = (organisation: TestOrganisation, id: string, isMet: (read: HealthFields) => boolean) =>
  until('the health of the connection', async () => {
    const found = await read(organisation, id);
    return isMet(found) ? found : undefined;
  });

const endOutageWait = (organisation: TestOrganisation) =>
  server
    .asOwner()
    .execute(`update host_outage set next_check_at = now() - interval '1 second' where org_id = ?`, [
      organisation.orgId,
    ]);

async function events({ client }: TestOrganisation, action: string) {
  const query = gql`
    query Events($action: AuditAction!) {
      auditEvents(filter: { action: $action }) { nodes { outcome connectionId targetName } }
    }
  `;
  const { auditEvents } = await client.request<{
    auditEvents: { nodes: { outcome: string; connectionId: string | null; targetName: string | null }[] };
  }>(query, { action });
  return auditEvents.nodes;
}

/** Reads the events of the outages of hosts, once one has this outcome. */
const hostEvents = (organisation: TestOrganisation, outcome: string) =>
  until(`an event with the outcome ${outcome}`, async () => {
    const found = await events(organisation, 'CHECK_HOST');
    return found.some((event) => event.outcome === outcome) ? found : undefined;
  });

/** Reads the outcomes of the events of an outage, once it has ended. */
const outcomesOfOutage = async (organisation: TestOrganisation) =>
  (await hostEvents(organisation, 'OK')).map(({ outcome }) => outcome).toSorted();

/** Lists the ids of connections, after REST has listed the same. */
async function listIds(
  organisation: TestOrganisation,
  { filter, orderBy }: { filter?: Record<string, string>; orderBy?: { field: string; direction: string } },
): Promise<string[]> {
  const query = gql`
    query List($filter: AppConnectionFilter, $orderBy: AppConnectionOrder) {
      appConnections(filter: $filter, orderBy: $orderBy, first: 100) { nodes { id } }
    }
  `;
  const { appConnections } = await organisation.client.request<{
    appConnections: { nodes: { id: string }[] };
  }>(query, { filter, ...(orderBy && { orderBy }) });
  const ids = appConnections.nodes.map(({ id }) => id);
  const field = orderBy?.field
    .toLowerCase()
    .replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const parameters = new URLSearchParams({
    limit: '100',
    ...filter,
    ...(field && { orderBy: field, direction: orderBy?.direction.toLowerCase() }),
  });
  const response = await fetch(`${server.url}/api/v1/app-connections/okta?${parameters}`, {
    headers: { authorization: `Bearer ${organisation.apiKey}` },
  });
  const shown = (await response.json()) as { appConnections: { id: string }[] };
  expect(shown.appConnections.map(({ id }) => id)).toEqual(ids);
  return ids;
}

interface Period {
  from: string | null;
  until: string | null;
  status: string;
  code: string | null;
  isHostOutage: boolean;
}

/** Reads the history of a connection, after REST has returned the same. */
async function history(organisation: TestOrganisation, id: string, first = 20): Promise<Period[]> {
  const query = gql`
    query History($id: UUID!, $first: Int!) {
      appConnection(id: $id) { health { history(first: $first) { from until status code isHostOutage } } }
    }
  `;
  const { appConnection } = await organisation.client.request<{
    appConnection: { health: { history: Period[] } };
  }>(query, { id, first });
  const response = await fetch(`${server.url}/api/v1/app-connections/okta/${id}/health?limit=${first}`, {
    headers: { authorization: `Bearer ${organisation.apiKey}` },
  });
  expect(await response.json()).toMatchObject({ health: appConnection.health });
  return appConnection.health.history;
}

async function countRows(table: string, { orgId }: TestOrganisation): Promise<number> {
  const [row] = await server
    .asOwner()
    .execute<[{ count: number }]>(`select count(*)::int as count from ${table} where org_id = ?`, [orgId]);
  return row.count;
}

const minutesFromNow = (at: string | null) => (Date.parse(at ?? '') - Date.now()) / 60_000;

describe('checks of connections', () => {
  test('are spread over the day', async () => {
    const mine = await server.newOrganisation();
    const ids: string[] = [];
    for (let count = 0; count < 8; count += 1) ids.push((await connect(mine)).id);
    const times = await Promise.all(
      ids.map(async (id) => {
        const { health } = await readUntil(mine, id, ({ health }) => health.nextCheckAt !== null);
        return minutesFromNow(health.nextCheckAt);
      }),
    );
    for (const minutes of times) expect(minutes).toBeLessThanOrEqual(24 * 60);
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(60);
  });

  test('happen once on all servers, are no use, and leave no event if nothing has changed', async () => {
    const mine = await server.newOrganisation();
    const { id, verification } = await connect(mine);
    const sent = okta.verifications().length;
    await makeDue(server, id);
    const checked = await readUntil(mine, id, ({ health }) => health.lastCheckAt !== verification.checkedAt);
    const { health, lastUsedAt } = checked;
    expect(health).toMatchObject({ status: 'VERIFIED', since: null, lastGoodAt: health.lastCheckAt });
    // A check does not ask for them.
    expect(checked.verification.details).toEqual({ __typename: 'OktaApiTokenDetails' });
    expect(minutesFromNow(health.nextCheckAt)).toBeGreaterThan(23 * 60);
    expect(minutesFromNow(health.nextCheckAt)).toBeLessThan(27 * 60);
    expect(okta.verifications().length - sent).toBe(1);
    expect(lastUsedAt).toBeNull();
    expect(await events(mine, 'CHECK_CONNECTION')).toEqual([]);
  });

  test('have a time within their interval, also if a server whose clock was wrong has set a later one', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    await readUntil(mine, id, ({ health }) => health.nextCheckAt !== null);
    await server
      .asOwner()
      .execute(`update app_connection set next_check_at = now() + interval '5 days' where id = ?`, [id]);
    const { health } = await readUntil(
      mine,
      id,
      ({ health }) => minutesFromNow(health.nextCheckAt) < 4 * 24 * 60,
    );
    expect(minutesFromNow(health.nextCheckAt)).toBeLessThanOrEqual(24 * 60);
  });

  test('ask a host again that did not answer, also if a server whose clock was wrong has set a later time', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    okta.behave(notJson());
    await makeDue(server, id);
    await readUntil(mine, id, ({ health }) => health.status === 'UNREACHABLE');
    okta.behave(accepting);
    await server
      .asOwner()
      .execute(`update host_outage set next_check_at = now() + interval '2 years' where org_id = ?`, [
        mine.orgId,
      ]);
    await readUntil(mine, id, ({ health }) => health.status === 'VERIFIED' && health.since === null);
  });

  test('stop when the app rejects the credentials, and begin again when a verification succeeds', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    okta.behave(tokenRejected);
    await makeDue(server, id);
    const { health } = await readUntil(mine, id, ({ health }) => health.status === 'REJECTED');
    expect(health.nextCheckAt).toBeNull();
    expect(await events(mine, 'CHECK_CONNECTION')).toMatchObject([
      { outcome: 'CREDENTIALS_REJECTED', connectionId: id },
    ]);
    okta.behave(accepting);
    await mine.client.request(
      gql`mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { id } } }`,
      {
        id,
      },
    );
    await readUntil(mine, id, ({ health }) => health.status === 'VERIFIED' && health.nextCheckAt !== null);
  });

  test('report nothing about credentials that were replaced during the check', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine, okta, 'an-old-token');
    const held: (() => void)[] = [];
    okta.behave((request, response) => {
      if (request.headers.authorization === 'SSWS an-old-token')
        held.push(() => tokenRejected(request, response));
      else accepting(request, response);
    });
    await makeDue(server, id);
    await until('a check with the old token', () => (held.length > 0 ? true : undefined));
    await mine.client.request(updateMutation, { id, input: { credentials: { apiToken: 'a-new-token' } } });
    for (const release of held) release();
    const { health } = await read(mine, id);
    // The next check of the host begins when the first one has ended.
    await makeDue(server, id);
    await readUntil(mine, id, (read) => read.health.lastCheckAt !== health.lastCheckAt);
    expect(await events(mine, 'CHECK_CONNECTION')).toEqual([]);
    expect((await read(mine, id)).health).toMatchObject({ status: 'VERIFIED', since: null });
  });

  test('do not blame credentials for a host that does not answer as the app, and ask it again after minutes', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    okta.behave(notJson());
    await makeDue(server, id);
    const down = await readUntil(mine, id, ({ health }) => health.status === 'UNREACHABLE');
    expect(down.verification.status).toBe('VERIFIED');
    expect(minutesFromNow(down.health.nextCheckAt)).toBeLessThan(3);
    expect(down.health.since).toBe(down.health.lastCheckAt);
    expect(
      (await history(mine, id)).map(({ from, status, isHostOutage }) => [from, status, isHostOutage]),
    ).toEqual([
      [down.health.since, 'UNREACHABLE', true],
      [expect.any(String), 'VERIFIED', false],
    ]);
    okta.behave(accepting);
    await endOutageWait(mine);
    await readUntil(mine, id, ({ health }) => health.status === 'VERIFIED' && health.since === null);
    expect(await outcomesOfOutage(mine)).toEqual(['NOT_AN_OKTA_ORG', 'OK']);
  });

  test('store an outage and its end only together with their events', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    /** Checks the connection while the database refuses the events about its host. */
    const checkWithoutEvents = async () => {
      const em = server.asOwner();
      // A rollback does not undo `nextval`.
      await em.execute('create sequence refusals');
      await em.execute(`create function refuse_event() returns trigger language plpgsql security definer as $$
        begin perform nextval('refusals'); raise exception 'refused by the test'; end $$`);
      await em.execute(`create trigger refuse_event before insert on audit_event for each row
        when (new.action = 'CHECK_HOST' and new.org_id = '${mine.orgId}') execute function refuse_event()`);
      await makeDue(server, id);
      await endOutageWait(mine);
      await until('a refused event', async () => {
        const [{ isCalled }] = await em.execute<[{ isCalled: boolean }]>(
          'select is_called as "isCalled" from refusals',
        );
        return isCalled || undefined;
      });
      await em.execute('drop trigger refuse_event on audit_event');
      await em.execute('drop function refuse_event');
      await em.execute('drop sequence refusals');
    };
    okta.behave(notJson());
    await checkWithoutEvents();
    expect(await hostEvents(mine, 'NOT_AN_OKTA_ORG')).toHaveLength(1);
    okta.behave(accepting);
    await checkWithoutEvents();
    await makeDue(server, id);
    expect(await outcomesOfOutage(mine)).toEqual(['NOT_AN_OKTA_ORG', 'OK']);
  });

  test('follow within minutes a verification without an answer, also of a new connection', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    okta.behave(failing(503));
    await mine.client.request(verifyMutation, { id });
    names += 1;
    const { createOktaConnection } = await mine.client.request<Created>(createMutation, {
      input: {
        name: `checked-${names}`,
        credentials: { instanceUrl: okta.origin, apiToken: 'a-good-token' },
        onUnreachable: 'SAVE_UNVERIFIED',
      },
    });
    for (const each of [id, createOktaConnection.appConnection.id]) {
      const { health } = await readUntil(mine, each, (read) => read.health.nextCheckAt !== null);
      expect(health.status).toBe('UNREACHABLE');
      expect(minutesFromNow(health.nextCheckAt)).toBeLessThan(10);
    }
  });

  test('say nothing about credentials while the app limits the rate', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    okta.behave(rateLimited(new Date(Date.now() + 600_000)));
    await makeDue(server, id);
    const { health } = await readUntil(mine, id, ({ health }) => minutesFromNow(health.nextCheckAt) > 0);
    expect(health.status).toBe('VERIFIED');
    expect(minutesFromNow(health.nextCheckAt)).toBeGreaterThan(5);
  });

  test('are never more than the rate budget: connections whose share of the limit is spent are checked after minutes', async () => {
    const mine = await server.newOrganisation();
    const connections = await Promise.all(['one', 'two', 'three'].map(() => connect(mine)));
    const reset = String(Math.floor(Date.now() / 1_000) + 600);
    const sent: string[] = [];
    okta.behave((request, response) => {
      if (request.url !== tokenPath) return accepting(request, response);
      sent.push(request.method ?? '');
      const limits = {
        'x-rate-limit-limit': '10',
        'x-rate-limit-remaining': '9',
        'x-rate-limit-reset': reset,
      };
      // No success, which would put the check off.
      response.writeHead(404, { ...limits, 'content-type': 'application/json' }).end('{}');
    });
    for (const { id } of connections) {
      const proxied = () =>
        fetch(`${server.url}/api/v1/app-connections/okta/${id}/proxy${tokenPath}`, {
          headers: { authorization: `Bearer ${mine.apiKey}` },
        });
      await until('the share is spent', async () => ((await proxied()).status === 503 ? true : undefined));
    }
    const spent = sent.length;
    await makeDue(server, ...connections.map(({ id }) => id));
    for (const { id, verification } of connections) {
      const { health } = await readUntil(mine, id, ({ health }) => minutesFromNow(health.nextCheckAt) > 0);
      expect(health).toMatchObject({ status: 'VERIFIED', lastCheckAt: verification.checkedAt });
      expect(minutesFromNow(health.nextCheckAt)).toBeGreaterThan(4);
      expect(minutesFromNow(health.nextCheckAt)).toBeLessThan(15);
    }
    expect(sent).toHaveLength(spent);
  });

  test('get a permit of the next window although callers always spend the share, and are shown as late until then', async () => {
    const mine = await server.newOrganisation();
    const windowMs = 8_000;
    const owner = json({ id: '00ub0oNGTSWTBKOLGLNR', status: 'ACTIVE' });
    /** What callers and checks have sent in each window. */
    const sent = new Map<number, string[]>();
    okta.behave((request, response) => {
      const [path, query] = request.url?.split('?') ?? [];
      if (path !== tokenPath) return accepting(request, response);
      const reset = (Math.floor(Date.now() / windowMs) + 1) * windowMs;
      const ofWindow = sent.get(reset) ?? [];
      sent.set(reset, ofWindow);
      ofWindow.push(query ?? 'check');
      response.setHeader('x-rate-limit-limit', '20');
      response.setHeader('x-rate-limit-remaining', String(20 - ofWindow.length));
      response.setHeader('x-rate-limit-reset', String(reset / 1_000));
      if (!query) return owner(request, response);
      // No success, which would put the check off.
      response.writeHead(404, { 'content-type': 'application/json' }).end('{}');
    });
    const { id } = await connect(mine);
    const leaving = new AbortController();
    const headers = { authorization: `Bearer ${mine.apiKey}`, prefer: 'wait=30' };
    const callers = Array.from({ length: 8 }, async () => {
      const path = `${server.url}/api/v1/app-connections/okta/${id}/proxy${tokenPath}?caller`;
      while (!leaving.signal.aborted)
        await fetch(path, { headers, signal: leaving.signal }).catch(() => undefined);
    });
    const checkUntil = (isMet: (health: HealthFields['health']) => boolean) =>
      until('a check', async () => {
        await makeDue(server, id);
        const { health } = await readUntil(mine, id, ({ health }) => minutesFromNow(health.nextCheckAt) > 0);
        return isMet(health) ? health : undefined;
      });
    await until(
      'the share is spent',
      () => [...sent.values()].some(({ length }) => length === 10) || undefined,
    );
    const late = await checkUntil(({ checkDelay }) => checkDelay !== null);
    expect(late.status).toBe('VERIFIED');
    expect(late.checkDelay).toEqual({
      since: expect.any(String),
      code: 'UPSTREAM_RATE_LIMITED',
      message: expect.stringContaining('The share of this connection, 50 %'),
    });
    expect(minutesFromNow(late.checkDelay?.since ?? null)).toBeLessThan(-0.9);
    const shown = await fetch(`${server.url}/api/v1/app-connections/okta/${id}/health`, { headers });
    expect(await shown.json()).toMatchObject({ health: { checkDelay: late.checkDelay } });

    const known = sent.size;
    await until('the end of a window', () => (sent.size > known + 1 ? true : undefined));
    // Another one is kept for the check.
    expect([...sent.values()][known]?.length).toBeLessThan(10);
    const checked = await checkUntil(({ checkDelay }) => checkDelay === null);
    expect(checked.status).toBe('VERIFIED');
    expect(checked.lastCheckAt).not.toBe(late.lastCheckAt);
    leaving.abort();
    await Promise.all(callers);
    expect(Math.max(...[...sent.values()].map(({ length }) => length))).toBeLessThanOrEqual(10);
  });

  test('are not put off because the database was slower than the permit was valid', async () => {
    const mine = await server.newOrganisation();
    const { id, verification } = await connect(mine);
    const em = server.asOwner();
    await em.execute(`create function delay_permit() returns trigger language plpgsql as $$ begin
      if new.connection_id = '${id}' and new.revision = 1 then perform pg_sleep(2.1); end if;
      return new; end $$`);
    await em.execute(
      'create trigger delay_permit before insert on rate_budget for each row execute function delay_permit()',
    );
    await makeDue(server, id);
    const { health } = await readUntil(mine, id, ({ health }) => minutesFromNow(health.nextCheckAt) > 0);
    await em.execute('drop function delay_permit cascade');
    expect(health).toMatchObject({ status: 'VERIFIED', checkDelay: null });
    expect(health.lastCheckAt).not.toBe(verification.checkedAt);
  });

  test('show no delay of a check that is not due, or whose interval has changed since', async () => {
    const mine = await server.newOrganisation();
    const failed = await connect(mine, okta, 'a-failing-token');
    const asked = await connect(mine, okta, 'a-limited-token');
    const changed = await connect(mine, other, 'a-limited-token');
    const held: (() => void)[] = [];
    const behave: Parameters<TestOkta['behave']>[0] = (request, response) => {
      const { authorization } = request.headers;
      if (authorization === 'SSWS a-failing-token') return failing(503)(request, response);
      if (authorization !== 'SSWS a-limited-token') return accepting(request, response);
      held.push(() => rateLimited(new Date(Date.now() + 600_000))(request, response));
    };
    for (const each of [okta, other]) each.behave(behave);
    const isHeld = () => (held.length > 0 ? true : undefined);
    await moveChecks(server, [asked.id], "now() + interval '20 hours'");
    await makeDue(server, failed.id);
    await until('the check of a connection that is not due', isHeld);
    held.pop()?.();
    await readUntil(mine, failed.id, ({ health }) => health.status === 'UNREACHABLE');
    const { health } = await read(mine, asked.id);
    expect(health.checkDelay).toBeNull();
    expect(minutesFromNow(health.nextCheckAt)).toBeGreaterThan(60);

    await makeDue(server, changed.id);
    await until('a check that is due', isHeld);
    await mine.client.request(updateMutation, { id: changed.id, input: { checkEvery: 1 } });
    other.behave(accepting);
    held.pop()?.();
    // The check of another connection to the host begins when the one before has ended.
    const next = await connect(mine, other);
    await makeDue(server, next.id);
    await readUntil(mine, next.id, ({ health }) => health.lastCheckAt !== next.verification.checkedAt);
    expect((await read(mine, changed.id)).health.checkDelay).toBeNull();
  });

  test('are spared by use that works', async () => {
    const mine = await server.newOrganisation();
    const { id, verification } = await connect(mine);
    await server.asOwner().execute(
      `insert into connection_usage (org_id, connection_id, hour, outcome, status_class, calls, bytes_up, bytes_down)
        values (?, ?, date_trunc('hour', now()), 'OK', 2, 1, 0, 0)`,
      [mine.orgId, id],
    );
    await server.asOwner().execute(
      `update app_connection set last_verified_at = last_verified_at - interval '10 days',
        expires_at = expires_at - interval '10 days', expiry_warning_at = expiry_warning_at - interval '10 days' where id = ?`,
      [id],
    );
    // In the future: a server may be between its statements that spare used connections and that find those that are due.
    await moveChecks(server, [id], "now() + interval '200 milliseconds'");
    const { health } = await readUntil(mine, id, ({ health }) => minutesFromNow(health.nextCheckAt) > 1);
    expect(minutesFromNow(health.nextCheckAt)).toBeGreaterThan(22 * 60);
    expect(health.lastCheckAt).toBe(verification.checkedAt);
    // Nor does it end sooner because its checks are put off.
    await readUntil(mine, id, (read) => minutesFromNow(read.health.expiresAt) > 29 * 24 * 60);
    expect(await events(mine, 'WARN_OF_EXPIRY')).toEqual([]);
  });

  test('go on for the others of a host that does not answer the requests of one connection', async () => {
    const mine = await server.newOrganisation();
    const token = 'of-a-user-who-breaks-it';
    const [broken, working] = [await connect(mine, okta, token), await connect(mine)];
    okta.behave((request, response) =>
      (request.headers.authorization === `SSWS ${token}` ? failing(500) : accepting)(request, response),
    );
    await makeDue(server, broken.id);
    const found = await readUntil(mine, broken.id, ({ health }) => health.status === 'UNREACHABLE');
    expect(found.verification.status).toBe('UNREACHABLE');
    expect(minutesFromNow(found.health.nextCheckAt)).toBeLessThan(3);
    expect((await read(mine, working.id)).health).toMatchObject({ status: 'VERIFIED', since: null });
    await makeDue(server, broken.id, working.id);
    const { health } = await readUntil(
      mine,
      working.id,
      ({ health }) => minutesFromNow(health.nextCheckAt) > 0,
    );
    expect(health.status).toBe('VERIFIED');
    expect(await events(mine, 'CHECK_HOST')).toEqual([]);
    expect(await events(mine, 'CHECK_CONNECTION')).toMatchObject([
      { outcome: 'UPSTREAM_UNREACHABLE', connectionId: broken.id },
    ]);
    await readUntil(mine, broken.id, ({ health }) => minutesFromNow(health.nextCheckAt) > 0);
    okta.behave(accepting);
    await makeDue(server, broken.id);
    await readUntil(mine, broken.id, ({ health }) => health.status === 'VERIFIED');
  });

  test('check two connections to a host that does not answer, and delay nobody else', async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    const ids: string[] = [];
    for (let count = 0; count < 12; count += 1) ids.push((await connect(mine, other)).id);
    const { id: healthy, verification } = await connect(theirs);
    const released = Promise.withResolvers<void>();
    const listen = ({ apiKey }: TestOrganisation, field: string) =>
      subscribe(server.graphqlUrl, apiKey, `subscription { ${field} }`);
    await using changes = await listen(mine, 'appConnectionChanged { kind connectionId }');
    await using hosts = await listen(mine, 'hostChanged { kind host code certificateValidTo }');
    const [sentBefore, first = ''] = [other.requests.length, ids[0]];
    other.behave((request, response) => {
      slowHeaders(request, response);
      released.resolve();
    });
    await makeDue(server, ...ids);
    // A request of `mine` hangs while the connection of the other organisation becomes due.
    await released.promise;
    await makeDue(server, healthy);
    await readUntil(theirs, healthy, ({ health }) => health.lastCheckAt !== verification.checkedAt);

    const down = await readUntil(mine, first, ({ health }) => health.status === 'UNREACHABLE');
    expect(down.verification.status).toBe('VERIFIED');
    expect(other.requests.length - sentBefore).toBe(2);
    expect(await hostEvents(mine, 'UPSTREAM_UNREACHABLE')).toEqual([
      { outcome: 'UPSTREAM_UNREACHABLE', connectionId: null, targetName: other.origin },
    ]);
    expect(await events(mine, 'CHECK_CONNECTION')).toEqual([]);
    expect((await read(theirs, healthy)).health.status).toBe('VERIFIED');
    const { id: otherHost } = await connect(mine);
    expect((await listIds(mine, { filter: { health: 'UNREACHABLE' } })).toSorted()).toEqual(ids.toSorted());
    expect(await listIds(mine, { filter: { health: 'VERIFIED' } })).toEqual([otherHost]);
    expect(await listIds(mine, { filter: { status: 'VERIFIED' } })).toHaveLength(13);

    other.behave(accepting);
    await endOutageWait(mine);
    for (const id of ids) await readUntil(mine, id, ({ health }) => health.status === 'VERIFIED');
    expect(await outcomesOfOutage(mine)).toEqual(['OK', 'UPSTREAM_UNREACHABLE']);
    const ofHost = { host: other.origin, certificateValidTo: null };
    expect([await hosts.next(), await hosts.next()].map(({ data }) => data?.hostChanged)).toEqual([
      { ...ofHost, kind: 'UNREACHABLE', code: 'UPSTREAM_UNREACHABLE' },
      { ...ofHost, kind: 'RECOVERED', code: null },
    ]);
    // Subscribers to connections get no event of the outage, whatever their number.
    await mine.client.request(updateMutation, { id: first, input: { description: 'after the outage' } });
    expect(
      [await changes.next(), await changes.next()].map(({ data }) => data?.appConnectionChanged),
    ).toEqual([
      { kind: 'CREATED', connectionId: otherHost },
      { kind: 'UPDATED', connectionId: first },
    ]);
    // One row for all connections.
    expect(await countRows('host_outage_history', mine)).toBe(1);
    expect(await countRows('connection_status_history', mine)).toBe(0);
    for (const id of ids) {
      const [now, outage, before, ...others] = await history(mine, id);
      expect(now).toMatchObject({ status: 'VERIFIED', code: null, until: null, isHostOutage: false });
      expect(outage).toMatchObject({
        status: 'UNREACHABLE',
        code: 'UPSTREAM_UNREACHABLE',
        isHostOutage: true,
      });
      expect(before).toMatchObject({ status: 'VERIFIED', isHostOutage: false });
      expect([now?.from, outage?.from, others]).toEqual([outage?.until, before?.until, []]);
    }
  });

  test('have an interval for each connection, or are off', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    const update = (checkEvery: number | null) =>
      mine.client.request(
        gql`
          mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
            updateOktaConnection(id: $id, input: $input) { appConnection { checkEvery } }
          }
        `,
        { id, input: { checkEvery } },
      );
    expect((await read(mine, id)).checkEvery).toBe(24);
    await update(1);
    // A server that gives the connection its first time meanwhile has read the old interval; the next round corrects it.
    await readUntil(mine, id, ({ health }) => minutesFromNow(health.nextCheckAt) <= 60);
    await update(0);
    expect(await read(mine, id)).toMatchObject({ checkEvery: 0, health: { nextCheckAt: null } });
    const shown = await fetch(`${server.url}/api/v1/app-connections/okta/${id}`, {
      headers: { authorization: `Bearer ${mine.apiKey}` },
    });
    expect(await shown.json()).toMatchObject({ appConnection: { checkEvery: 0 } });
    for (const invalid of [-1, 169]) await expect(update(invalid)).rejects.toThrow(/from 1 to 168, or 0/);
    await update(null);
    expect((await read(mine, id)).checkEvery).toBe(24);
  });
});

describe('the history of a connection', () => {
  test('has one item for each change of the status, and none for the checks between', async () => {
    const mine = await server.newOrganisation();
    const { id, createdAt } = await connect(mine);
    expect(await history(mine, id)).toEqual([
      { from: createdAt, until: null, status: 'VERIFIED', code: null, isHostOutage: false },
    ]);
    const verify = gql`mutation ($id: UUID!) {
      verifyAppConnection(id: $id) { appConnection { health { status history { status } } } }
    }`;
    const statuses: string[] = [];
    for (const behaviour of [accepting, tokenRejected, tokenRejected, accepting, accepting]) {
      okta.behave(behaviour);
      const { verifyAppConnection } = await mine.client.request<{
        verifyAppConnection: { appConnection: { health: { history: { status: string }[] } } };
      }>(verify, { id });
      statuses.push(verifyAppConnection.appConnection.health.history.map(({ status }) => status).join(' '));
    }
    expect(statuses).toEqual([
      'VERIFIED',
      'REJECTED VERIFIED',
      'REJECTED VERIFIED',
      'VERIFIED REJECTED VERIFIED',
      'VERIFIED REJECTED VERIFIED',
    ]);
    const [now, rejected, first] = await history(mine, id);
    expect(rejected).toMatchObject({ status: 'REJECTED', code: 'CREDENTIALS_REJECTED', until: now?.from });
    expect(first).toEqual({
      ...{ from: createdAt, until: rejected?.from, status: 'VERIFIED', code: null, isHostOutage: false },
    });
    expect(await history(mine, id, 1)).toEqual([now]);
  });

  test('has the last 100 changes of 90 days', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    for (let count = 0; count < 105; count += 1)
      await server.asOwner().execute(
        `update app_connection set verification_status = case verification_status when 'VERIFIED' then 'REJECTED' else 'VERIFIED' end,
          verification_checked_at = verification_checked_at + interval '1 minute' where id = ?`,
        [id],
      );
    expect(await countRows('connection_status_history', mine)).toBe(100);
    expect(await history(mine, id, 100)).toHaveLength(100);
    await server.asOwner().execute(
      `update connection_status_history set until = until - interval '91 days' where until in (
        select until from connection_status_history where connection_id = ? order by until limit 60)`,
      [id],
    );
    expect(await history(mine, id, 100)).toHaveLength(41);
    await deleteOldHistory({ database: server.database });
    expect(await countRows('connection_status_history', mine)).toBe(40);
  });

  test('is removed with a purged connection', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    await server
      .asOwner()
      .execute(`update app_connection set verification_status = 'UNREACHABLE' where id = ?`, [id]);
    expect(await countRows('connection_status_history', mine)).toBe(1);
    await mine.client.request(
      gql`mutation ($id: UUID!) { deleteAppConnection(id: $id, purge: true) { id } }`,
      { id },
    );
    expect(await countRows('connection_status_history', mine)).toBe(0);
  });
});

describe('the end of the credentials of a connection', () => {
  const setCheckEvery = ({ client }: TestOrganisation, id: string, checkEvery: number) =>
    client.request(updateMutation, { id, input: { checkEvery } });

  /** Moves what is known of a connection into the past: the clock of the warnings is that of the rows. */
  const pass = (id: string, days: number) =>
    server.asOwner().execute(
      `update app_connection set verification_details = null,
        last_verified_at = last_verified_at - make_interval(hours => 24 * ?::int),
        expires_at = expires_at - make_interval(hours => 24 * ?::int),
        expiry_warning_at = expiry_warning_at - make_interval(hours => 24 * ?::int) where id = ?`,
      [days, days, days, id],
    );

  /** Reads the warnings about a connection, the oldest first, once there are as many. */
  const warnings = (organisation: TestOrganisation, id: string, count: number) =>
    until(`${count} warnings`, async () => {
      const [warned, expired] = [
        await events(organisation, 'WARN_OF_EXPIRY'),
        await events(organisation, 'EXPIRE_CONNECTION'),
      ];
      const found = [...expired, ...warned].filter(({ connectionId }) => connectionId === id).toReversed();
      return found.length >= count ? found : undefined;
    });

  test('is 30 days after the last use of an API token, with one warning 14, 7 and 1 days before, and one after it', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    await setCheckEvery(mine, id, 0);
    const days = ({ health }: HealthFields) => minutesFromNow(health.expiresAt) / (24 * 60);
    const first = await read(mine, id);
    expect(first.health.expiryReason).toBe('UNUSED');
    expect(Math.round(days(first))).toBe(30);
    await using changes = await subscribe(
      server.graphqlUrl,
      mine.apiKey,
      'subscription { appConnectionChanged { kind connectionId } }',
    );
    for (const [index, step] of [17, 6, 6, 2].entries()) {
      await pass(id, step);
      const found = await warnings(mine, id, index + 1);
      const { expiresAt } = (await read(mine, id)).health;
      expect(found.at(-1)?.targetName).toBe(`UNUSED ${expiresAt}`);
    }
    expect(Math.ceil(days(await read(mine, id)))).toBe(-1);
    // The warning about another connection shows that the servers have gone on.
    const { id: other } = await connect(mine);
    await pass(other, 20);
    await warnings(mine, other, 1);
    expect(await warnings(mine, id, 4)).toHaveLength(4);
    expect(await events(mine, 'EXPIRE_CONNECTION')).toMatchObject([{ outcome: 'OK', connectionId: id }]);
    const kinds: unknown[] = [];
    while (kinds.length < 4) kinds.push((await changes.next()).data?.appConnectionChanged);
    expect(kinds).toEqual(
      ['EXPIRING', 'EXPIRING', 'EXPIRING', 'EXPIRED'].map((kind) => ({ kind, connectionId: id })),
    );

    await mine.client.request(verifyMutation, { id });
    expect(Math.round(days(await read(mine, id)))).toBe(30);
    await pass(id, 17);
    await warnings(mine, id, 5);
  });

  test('is kept when a verification fails that began before it was found', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    await setCheckEvery(mine, id, 0);
    const held: (() => void)[] = [];
    okta.behave((request, response) => void held.push(() => failing(503)(request, response)));
    const verification = mine.client.request(verifyMutation, { id });
    await until('a request to Okta', () => (held.length > 0 ? true : undefined));
    await pass(id, 17);
    await warnings(mine, id, 1);
    const { expiresAt } = (await read(mine, id)).health;
    okta.behave(failing(503));
    for (const release of held) release();
    await verification;
    expect((await read(mine, id)).health).toMatchObject({ status: 'UNREACHABLE', expiresAt });
    expect(await warnings(mine, id, 1)).toHaveLength(1);
  });

  test('is later for a token that was used through the connection', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    await setCheckEvery(mine, id, 0);
    await server.asOwner().execute(
      `insert into connection_usage (org_id, connection_id, hour, outcome, status_class, calls, bytes_up, bytes_down)
        values (?, ?, date_trunc('hour', now()), 'OK', 2, 1, 0, 0)`,
      [mine.orgId, id],
    );
    await pass(id, 29);
    await readUntil(mine, id, ({ health }) => minutesFromNow(health.expiresAt) > 29 * 24 * 60);
    expect(await events(mine, 'WARN_OF_EXPIRY')).toEqual([]);
  });

  test('is not known, and warned of once, if a check finds that the owner is no longer active', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    okta.behave(
      behavingAt({ [tokenPath]: json({ id: '00ub0oNGTSWTBKOLGLNR', status: 'SUSPENDED', profile: {} }) }),
    );
    await makeDue(server, id);
    const { health } = await readUntil(mine, id, ({ health }) => health.expiryReason === 'OWNER_INACTIVE');
    expect(health).toMatchObject({ status: 'VERIFIED', expiresAt: null });
    expect(await warnings(mine, id, 1)).toMatchObject([{ targetName: 'OWNER_INACTIVE' }]);
    await makeDue(server, id);
    const again = await readUntil(mine, id, (read) => read.health.lastCheckAt !== health.lastCheckAt);
    expect(again.health.expiryReason).toBe('OWNER_INACTIVE');
    okta.behave(tokenRejected);
    await makeDue(server, id);
    const rejected = await readUntil(mine, id, ({ health }) => health.status === 'REJECTED');
    expect(rejected.health).toMatchObject({ expiresAt: null, expiryReason: null });
    expect(await warnings(mine, id, 1)).toHaveLength(1);
  });

  test('stays that of an unused token if its owner is locked out, because Okta lets the token work', async () => {
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    okta.behave(
      behavingAt({ [tokenPath]: json({ id: '00ub0oNGTSWTBKOLGLNR', status: 'LOCKED_OUT', profile: {} }) }),
    );
    const before = (await read(mine, id)).health.lastCheckAt;
    await makeDue(server, id);
    const { health } = await readUntil(mine, id, (read) => read.health.lastCheckAt !== before);
    expect(health).toMatchObject({ status: 'VERIFIED', expiryReason: 'UNUSED' });
  });

  test('filters lists', async () => {
    const mine = await server.newOrganisation();
    const [{ id: near }] = [await connect(mine), await connect(mine)];
    await pass(near, 10);
    const expiresBefore = new Date(Date.now() + 25 * 86_400_000).toISOString();
    expect(await listIds(mine, { filter: { expiresBefore } })).toEqual([near]);
  });
});

describe('lists of connections by health', () => {
  const columns = {
    SINCE: 'failing_since',
    LAST_CHECK_AT: 'verification_checked_at',
    NEXT_CHECK_AT: 'next_check_at',
    LAST_GOOD_AT: 'last_verified_at',
    EXPIRES_AT: 'expires_at',
  };
  const filters: Partial<Record<string, string>> = {
    SINCE: 'sinceBefore',
    LAST_CHECK_AT: 'lastCheckBefore',
    NEXT_CHECK_AT: 'nextCheckBefore',
    LAST_GOOD_AT: 'lastGoodBefore',
  };

  test.each(Object.entries(columns))(
    'are in the order of %s, and null is later than every time',
    async (field, column) => {
      const mine = await server.newOrganisation();
      const ids: string[] = [];
      for (let count = 0; count < 4; count += 1) ids.push((await connect(mine)).id);
      // Not checked, so that no server changes the times.
      await server
        .asOwner()
        .execute('update app_connection set check_every = 0 where org_id = ?', [mine.orgId]);
      const [late = '', none = '', early = '', middle = ''] = ids;
      const set = (id: string, time: string | null) =>
        server
          .asOwner()
          .execute(`update app_connection set ${column} = ?::timestamptz where id = ?`, [time, id]);
      await set(late, '2026-03-01T00:00:00Z');
      await set(none, null);
      await set(early, '2026-01-01T00:00:00Z');
      await set(middle, '2026-02-01T00:00:00Z');
      expect(await listIds(mine, { orderBy: { field, direction: 'ASC' } })).toEqual([
        early,
        middle,
        late,
        none,
      ]);
      expect(await listIds(mine, { orderBy: { field, direction: 'DESC' } })).toEqual([
        none,
        late,
        middle,
        early,
      ]);
      const filter = filters[field] ?? 'expiresBefore';
      const found = await listIds(mine, { filter: { [filter]: '2026-03-01T00:00:00Z' } });
      expect(found.toSorted()).toEqual([early, middle].toSorted());

      // Brief: no field of the nodes needs the column of the order.
      const page = gql`
      query Page($orderBy: AppConnectionOrder, $first: Int, $after: String, $last: Int, $before: String) {
        appConnections(orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
          nodes { id }
          pageInfo { startCursor endCursor hasNextPage hasPreviousPage }
        }
      }
    `;
      type Page = { appConnections: { nodes: { id: string }[]; pageInfo: Record<string, string | boolean> } };
      const read = async (variables: object) =>
        (await mine.client.request<Page>(page, { orderBy: { field, direction: 'ASC' }, ...variables }))
          .appConnections;
      const seen: unknown[] = [];
      for (let after: unknown = null, hasNext: unknown = true; hasNext; ) {
        const { nodes, pageInfo } = await read({ first: 1, after });
        seen.push(nodes[0]?.id);
        [after, hasNext] = [pageInfo.endCursor, pageInfo.hasNextPage];
        // What was seen moves behind the cursor. The others stay once each in the list.
        if (seen.length === 1) await set(early, '2026-02-15T00:00:00Z');
      }
      expect(seen).toEqual([early, middle, early, late, none]);
      const { pageInfo } = await read({ last: 1 });
      const { nodes } = await read({ last: 2, before: pageInfo.startCursor });
      expect(nodes.map(({ id }) => id)).toEqual([early, late]);
    },
  );
});
