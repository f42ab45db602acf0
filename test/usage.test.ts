import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { deleteExpiredUsage, deleteUsageOfPurged } from '../src/connections/usage/delete-usage.ts';
import { type Behaviour, startOkta, type TestOkta } from './testkit/okta.ts';
import { until } from './testkit/process.ts';
import { at, createConnectionOverRest, restClient } from './testkit/rest.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

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

let connections = 0;
/** Creates a connection to an Okta that behaves in this way from then on. */
async function connectTo(behaviour: Behaviour, fields: { projectId?: string } = {}): Promise<string> {
  connections += 1;
  okta.behave(handleFakeOkta);
  const { id } = await createConnectionOverRest(restClient(server.url, organisation.apiKey), {
    name: `connection-${connections}`,
    credentials: { instanceUrl: okta.origin, apiToken: 'a-good-token' },
    ...fields,
  });
  okta.behave(behaviour);
  return id;
}

function use(id: string, path: string, init: RequestInit = {}, at = server): Promise<Response> {
  const headers = { authorization: `Bearer ${organisation.apiKey}` };
  return fetch(`${at.url}/api/v1/app-connections/okta/${id}/proxy${path}`, { headers, ...init });
}

/** Reads the response to its end, and returns its status. */
async function useAndRead(...request: Parameters<typeof use>): Promise<number> {
  const response = await use(...request);
  await response.text();
  return response.status;
}

interface Usage {
  lastUsedAt: string | null;
  lastUsedBy: { keyId: string | null; subject: string | null; name: string | null } | null;
  usage: {
    total: Counts;
    buckets: { start: string; counts: Counts }[];
    callers: { caller: { keyId: string; name: string } | null; calls: number; failedCalls: number }[];
  };
}
interface Counts {
  calls: number;
  outcomes: { outcome: string; calls: number }[];
  statusClasses: { statusClass: number | null; calls: number }[];
  p50Ms: number | null;
  p99Ms: number | null;
  bytesUp: number;
  bytesDown: number;
}

async function readUsage(
  id: string,
  { client }: Pick<TestOrganisation, 'client'> = organisation,
): Promise<Usage> {
  const { appConnection } = await client.request<{ appConnection: Usage }>(
    `query ($id: UUID!) { appConnection(id: $id) {
      lastUsedAt lastUsedBy { keyId subject name }
      usage {
        from to by
        total { ...counts }
        buckets { start counts { ...counts } }
        callers { caller { keyId subject name } calls failedCalls bytesUp bytesDown }
      }
    } }
    fragment counts on UsageCounts {
      calls outcomes { outcome calls } statusClasses { statusClass calls } p50Ms p99Ms bytesUp bytesDown
    }`,
    { id },
  );
  return appConnection;
}

describe('the usage of a connection', () => {
  it('counts calls by outcome, class of status and caller, with their bytes and durations', async () => {
    const id = await connectTo((request, response) => {
      response.statusCode = request.url?.includes('missing') ? 404 : 200;
      response.end('x'.repeat(1_000));
    });
    expect((await readUsage(id)).lastUsedAt).toBe(null);
    for (const path of ['/api/v1/users', '/api/v1/users', '/api/v1/missing', '/oauth2/v1/keys'])
      await useAndRead(id, path);
    const { usage, lastUsedAt, lastUsedBy } = await readUsage(id);
    expect(usage.total).toMatchObject({
      calls: 4,
      outcomes: [
        { outcome: 'OK', calls: 3 },
        { outcome: 'USE_DENIED', calls: 1 },
      ],
      statusClasses: [
        { statusClass: null, calls: 1 },
        { statusClass: 2, calls: 2 },
        { statusClass: 4, calls: 1 },
      ],
      bytesUp: 0,
      bytesDown: 3_000,
    });
    expect(usage.total.p50Ms).toBeGreaterThan(0);
    expect(usage.total.p99Ms).toBeGreaterThanOrEqual(usage.total.p50Ms ?? 0);
    expect(usage.buckets).toHaveLength(24);
    expect(usage.buckets.reduce((sum, { counts }) => sum + counts.calls, 0)).toBe(4);
    expect(usage.callers).toMatchObject([{ caller: { name: expect.any(String) }, calls: 4, failedCalls: 1 }]);
    expect(lastUsedBy?.keyId).toBe(usage.callers[0]?.caller?.keyId);
    expect(Date.now() - Date.parse(lastUsedAt ?? '')).toBeLessThan(60_000);
    const overRest = await restClient(server.url, organisation.apiKey)(
      'GET',
      `/api/v1/app-connections/okta/${id}/usage`,
    );
    expect(overRest.body).toEqual({ usage: { ...usage, lastUsedAt, lastUsedBy } });
  });

  it('counts calls that end while a client is not reading, leaves, or the app breaks off, by what happened', async () => {
    const arrived: PromiseWithResolvers<void>[] = [];
    const id = await connectTo((request, response) => {
      if (request.url?.includes('breaks')) {
        response.writeHead(200, { 'content-length': '10' }).write('12345', () => request.socket.destroy());
        return;
      }
      if (request.url?.includes('streams')) response.writeHead(200).write('x'.repeat(100));
      arrived.shift()?.resolve();
    });
    await expect(useAndRead(id, '/api/v1/breaks')).rejects.toThrow();
    const leave = async (path: string) => {
      const reached = Promise.withResolvers<void>();
      arrived.push(reached);
      const leaving = new AbortController();
      const headers = { authorization: `Bearer ${organisation.apiKey}` };
      const call = use(id, path, { signal: leaving.signal, headers });
      await reached.promise;
      // The beginning of the response, if there is one.
      if (path.includes('streams')) await (await call).body?.getReader().read();
      leaving.abort();
      await call.catch(() => undefined);
      await okta.requests.at(-1)?.disconnected;
    };
    await leave('/api/v1/hangs');
    await leave('/api/v1/streams');
    const total = await until('all calls have ended', async () => {
      const { usage } = await readUsage(id);
      return usage.total.calls === 3 ? usage.total : undefined;
    });
    expect(total).toMatchObject({
      outcomes: [
        { outcome: 'CLIENT_DISCONNECTED', calls: 2 },
        { outcome: 'UPSTREAM_UNREACHABLE', calls: 1 },
      ],
      statusClasses: [
        { statusClass: null, calls: 1 },
        { statusClass: 2, calls: 2 },
      ],
      bytesDown: 105,
    });
  });

  it('counts a stream that is ended because it is no longer allowed with the reason', async () => {
    const id = await connectTo((_, response) => {
      response.writeHead(200).write('x');
    });
    const response = await use(id, '/api/v1/streams');
    await setPolicy(id, [{ effect: 'DENY', path: '/**' }]);
    await expect(response.text()).rejects.toThrow();
    const { usage } = await readUsage(id);
    expect(usage.total).toMatchObject({
      outcomes: [{ outcome: 'USE_DENIED', calls: 1 }],
      statusClasses: [{ statusClass: 2, calls: 1 }],
      bytesDown: 1,
    });
  });

  it('counts refusals for keys that may not see the connection, and nothing for connections of others', async () => {
    const id = await connectTo(handleFakeOkta);
    const limited = await organisation.newKey(['connections:use'], { projectIds: [organisation.projectId] });
    const stranger = await server.newOrganisation();
    for (const apiKey of [limited, stranger.apiKey]) {
      const headers = { authorization: `Bearer ${apiKey}` };
      expect(await useAndRead(id, '/api/v1/users/me', { headers })).toBe(404);
    }
    const { usage, lastUsedAt, lastUsedBy } = await readUsage(id);
    expect(usage.total.outcomes).toEqual([{ outcome: 'NOT_FOUND', calls: 1 }]);
    expect([lastUsedAt, lastUsedBy]).toEqual([null, null]);
    const rows = await server
      .asOwner()
      .execute('select 1 from connection_usage where org_id = ?', [stranger.orgId]);
    expect(rows).toEqual([]);
  });

  it('names the API keys that the reader may see', async () => {
    const { projectId } = organisation;
    const id = await connectTo(handleFakeOkta, { projectId });
    await useAndRead(id, '/api/v1/users/me');
    const [{ caller } = { caller: null }] = (await readUsage(id)).usage.callers;
    expect(caller?.name).toEqual(expect.any(String));
    const limited = await organisation.newKey(['connections:read'], { projectIds: [projectId] });
    const seen = await readUsage(id, { client: server.clientFor(limited) });
    expect(seen.usage.callers).toMatchObject([{ caller: { keyId: caller?.keyId, name: null } }]);
    expect(seen.lastUsedBy).toEqual({ keyId: caller?.keyId, subject: null, name: null });
  });

  it.each([
    ['more than 200 hours', 'from: "2026-01-01T00:00:00Z", to: "2026-01-10T00:00:00Z"'],
    ['an end before the beginning', 'from: "2026-01-02T00:00:00Z", to: "2026-01-01T00:00:00Z"'],
    ['an end before the beginning in an hour', 'from: "2026-01-01T10:20:00Z", to: "2026-01-01T10:10:00Z"'],
    ['a beginning before the year 1', 'to: "0001-01-01T00:00:00Z"', 'to'],
    ['an end after the year 9999', 'from: "9999-12-31T23:30:00Z", to: "9999-12-31T23:59:59Z"', 'to'],
    ['days after the year 9999', 'by: DAY, to: "9999-12-31T00:00:01Z"', 'to'],
  ])('rejects a range with %s', async (_, range, argument = 'from') => {
    const id = await connectTo(handleFakeOkta);
    const query = `query ($id: UUID!) { appConnection(id: $id) { usage(${range}) { total { calls } } } }`;
    const [error] = await errorsOf(organisation.client.request(query, { id }));
    expect(error?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path: [argument] }] });
  });
});

describe('the users of a connection', () => {
  interface User {
    caller: { keyId: string | null; name: string | null } | null;
    label: string | null;
    calls: number;
    failedCalls: number;
    lastUsedAt: string;
  }
  const readUsers = async (id: string, client = organisation.client) => {
    const { appConnection } = await client.request<{ appConnection: { usedBy: User[] } }>(
      `query ($id: UUID!) { appConnection(id: $id) {
        usedBy { caller { keyId subject name } label calls failedCalls lastUsedAt }
      } }`,
      { id },
    );
    return appConnection.usedBy;
  };
  const labels = (users: User[]) => users.map(({ label, calls }) => [label, calls]);

  it('are the callers that the app has answered, by what their programs call themselves', async () => {
    const id = await connectTo(handleFakeOkta);
    const before = Date.now();
    const send = (headers: Record<string, string>, path = '/api/v1/users/me') =>
      useAndRead(id, path, { headers: { authorization: `Bearer ${organisation.apiKey}`, ...headers } });
    await send({ 'user-agent': 'okta-sdk-golang/4.1.0 (linux; amd64) golang/1.22' });
    await send({ 'user-agent': 'curl/8.0', 'x-app-connections-consumer': 'Payroll sync: "nightly" é' });
    await send({ 'user-agent': 'curl/8.0', 'x-app-connections-consumer': 'x'.repeat(100) });
    await send({ 'user-agent': 'curl/8.0' });
    await send({ 'user-agent': 'curl/8.0' }, '/oauth2/v1/keys');
    // A caller that was never answered.
    const refused = await organisation.newKey(['connections:use']);
    await send({ authorization: `Bearer ${refused}` }, '/oauth2/v1/keys');
    const users = await readUsers(id);
    expect(labels(users).sort()).toEqual([
      ['Payroll-sync:-nightly', 1],
      ['curl/8.0', 2],
      ['okta-sdk-golang/4.1.0', 1],
      ['x'.repeat(64), 1],
    ]);
    const [user] = users;
    expect(user).toMatchObject({ caller: { name: expect.any(String) }, label: 'curl/8.0', failedCalls: 1 });
    expect(Date.parse(user?.lastUsedAt ?? '')).toBeGreaterThanOrEqual(before);
    const overRest = await restClient(server.url, organisation.apiKey)(
      'GET',
      `/api/v1/app-connections/okta/${id}/used-by`,
    );
    expect(overRest.body).toEqual({ usedBy: users });
  });

  it('are those of GraphQL too, with the headers of its request', async () => {
    const id = await connectTo(handleFakeOkta);
    const headers = { 'x-app-connections-consumer': 'graphql-program' };
    const documents = [
      `mutation ($id: UUID!) { executeOktaRequest(input: { connectionId: $id, method: GET, path: "/api/v1/users/me" }) { status } }`,
      `query ($id: UUID!) { oktaResponse(connectionId: $id, path: "/api/v1/users/me") { status } }`,
      `query ($id: UUID!) { oktaOrganisation(connectionId: $id) { id } }`,
    ];
    for (const document of documents) await organisation.client.request(document, { id }, headers);
    expect(labels(await readUsers(id))).toEqual([['graphql-program', documents.length]]);
  });

  it('have no label that could be a secret, and the app does not see the header of the label', async () => {
    const id = await connectTo(handleFakeOkta);
    const secret = organisation.apiKey.replace(/^/, 'Bearer ');
    const headers = { authorization: secret, 'x-app-connections-consumer': secret, 'user-agent': secret };
    await useAndRead(id, '/api/v1/users/me', { headers });
    expect(labels(await readUsers(id))).toEqual([['Bearer', 1]]);
    expect(Object.keys(okta.requests.at(-1)?.headers ?? {})).not.toContain('x-app-connections-consumer');
    expect(await server.dump()).not.toContain(organisation.apiKey);
  });

  it('are those of rows of earlier versions too, to the hour', async () => {
    const id = await connectTo(handleFakeOkta);
    await useAndRead(id, '/api/v1/users/me');
    await readUsers(id);
    await server
      .asOwner()
      .execute('update connection_usage_caller set last_used_at = null where connection_id = ?', [id]);
    const [user] = await readUsers(id);
    expect(user?.lastUsedAt).toMatch(/:00:00\.000Z$/);
  });
});

describe('a connection that the app has answered in the last 7 days', () => {
  const remove =
    'mutation ($id: UUID!, $input: Boolean, $key: String) { deleteAppConnection(id: $id, acknowledgeUse: $input, idempotencyKey: $key) { id } }';
  /** Creates a connection that is in use. */
  const connectAndUse = async (fields: { projectId?: string } = {}) => {
    const id = await connectTo(handleFakeOkta, fields);
    const headers = {
      authorization: `Bearer ${organisation.apiKey}`,
      'x-app-connections-consumer': 'payroll',
    };
    await useAndRead(id, '/api/v1/users/me', { headers });
    return id;
  };
  const rest = (...[method, path, ...others]: Parameters<ReturnType<typeof restClient>>) =>
    restClient(server.url, organisation.apiKey)(method, `/api/v1/app-connections/okta/${path}`, ...others);

  it('is deleted only if that is acknowledged, once under an idempotency key', async () => {
    const id = await connectAndUse();
    const { client } = organisation;
    const [refused] = await errorsOf(client.request(remove, { id, key: 'delete-used' }));
    expect(refused?.extensions).toMatchObject({
      code: 'CONNECTION_IN_USE',
      issues: [{ path: ['acknowledgeUse'] }],
      remedy: expect.stringContaining('acknowledgeUse'),
    });
    expect(refused?.message).toMatch(
      /^The connection was used in the last 7 days by the API key “.+” \(payroll, 1 call, last at \S+Z\)\.$/,
    );
    for (const method of ['DELETE', 'GET'] as const) {
      expect(await rest(method, id)).toMatchObject({ status: method === 'GET' ? 200 : 409 });
    }
    const acknowledged = { id, input: true, key: 'delete-used' };
    for (let attempt = 0; attempt < 2; attempt += 1)
      expect(await client.request(remove, acknowledged)).toEqual({ deleteAppConnection: { id } });
    // It is in use by nobody now.
    expect((await rest('DELETE', `${id}?purge=true`)).status).toBe(200);
  });

  it('says only how many use it to a caller that may not read it, and nothing to one that may not see it', async () => {
    const id = await connectAndUse();
    const { projectId } = organisation;
    const inProject = await connectAndUse({ projectId });
    const writer = await organisation.newKey(['connections:write'], { projectIds: [projectId] });
    const attempt = (of: string) => errorsOf(server.clientFor(writer).request(remove, { id: of }));
    expect((await attempt(inProject))[0]?.message).toBe(
      'The connection was used in the last 7 days by 1 caller, in 1 call.',
    );
    expect((await attempt(id))[0]?.extensions.code).toBe('NOT_FOUND');
  });

  it('gets another URL or method only if that is acknowledged, and everything else without', async () => {
    const id = await connectAndUse();
    const credentials = { instanceUrl: 'https://elsewhere.okta.com', apiToken: 'a-good-token' };
    const elsewhere = { credentials, allowDifferentOktaOrg: true };
    const to = { clientId: '0oa1ab2cd3EF4GH5i0d7', scopes: ['okta.users.read'] };
    okta.behave(handleFakeOkta);
    expect((await rest('PATCH', id, { name: `renamed-${id}`, description: 'Changed' })).status).toBe(200);
    const sameHost = { credentials: { instanceUrl: okta.origin, apiToken: 'another-good-token' } };
    expect((await rest('PATCH', id, sameHost)).status).toBe(200);
    for (const [path, body] of [
      [id, elsewhere],
      [`${id}/convert`, { to }],
    ] as const) {
      const change = (input: object) => rest(path === id ? 'PATCH' : 'POST', path, { ...body, ...input });
      const refused = await change({});
      expect([refused.status, at(refused.body, 'code')]).toEqual([409, 'CONNECTION_IN_USE']);
      expect(at(refused.body, 'issues')).toMatchObject([{ path: ['acknowledgeUse'] }]);
      // The other URL answers nothing here, so that the update fails later.
      const acknowledged = await change({ acknowledgeUse: true });
      expect(at(acknowledged.body, 'code')).not.toBe('CONNECTION_IN_USE');
    }
    expect(at((await rest('GET', id)).body, 'appConnection', 'conversion')).toMatchObject({
      method: 'service-app',
    });
  });

  it('is in use no longer after 7 days', async () => {
    const id = await connectAndUse();
    await readUsage(id);
    await server.asOwner().execute(
      `update connection_usage_caller set hour = hour - interval '8 days', last_used_at = last_used_at - interval '8 days'
       where connection_id = ?`,
      [id],
    );
    expect(await organisation.client.request(remove, { id })).toEqual({ deleteAppConnection: { id } });
  });
});

describe('cleaning up usage', () => {
  const count = async (table: string, condition: string) => {
    const rows = await server.asOwner().execute<object[]>(`select 1 from ${table} where ${condition}`);
    return rows.length;
  };

  it('deletes what is older than 90 days, in batches, and keeps the last use', async () => {
    const id = await connectTo(handleFakeOkta);
    await useAndRead(id, '/api/v1/users/me');
    await readUsage(id);
    const em = server.asOwner();
    await em.execute(
      `insert into connection_usage select org_id, connection_id, hour - interval '1 hour' * number, outcome, status_class,
         calls, bytes_up, bytes_down, durations
       from connection_usage, generate_series(${90 * 24 - 10}, ${90 * 24 + 500}) number where connection_id = ?`,
      [id],
    );
    await em.execute(
      `insert into connection_usage_caller select org_id, connection_id, hour - interval '91 days', caller, calls,
         failed_calls, bytes_up, bytes_down
       from connection_usage_caller where connection_id = ?`,
      [id],
    );
    const old = `connection_id = '${id}' and hour < now() - interval '90 days'`;
    expect(await count('connection_usage', old)).toBeGreaterThan(400);
    await deleteExpiredUsage(server);
    expect(await count('connection_usage', old)).toBe(0);
    expect(await count('connection_usage_caller', old)).toBe(0);
    expect(await count('connection_usage', `connection_id = '${id}'`)).toBeGreaterThan(5);
    expect((await readUsage(id)).lastUsedAt).not.toBe(null);
  });

  it('deletes the usage of connections that were purged, and of no others', async () => {
    const [purged, refused, kept] = [
      await connectTo(handleFakeOkta),
      await connectTo(handleFakeOkta),
      await connectTo(handleFakeOkta),
    ];
    await useAndRead(purged, '/api/v1/users/me');
    await useAndRead(refused, '/oauth2/v1/keys');
    await useAndRead(kept, '/api/v1/users/me');
    await readUsage(kept);
    await deleteUsageOfPurged(server);
    const ofAll = (ids: string[]) => `connection_id in (${ids.map((id) => `'${id}'`)})`;
    expect(await count('connection_usage', ofAll([purged, refused, kept]))).toBe(3);
    for (const id of [purged, refused]) {
      await restClient(server.url, organisation.apiKey)(
        'DELETE',
        `/api/v1/app-connections/okta/${id}?purge=true&acknowledgeUse=true`,
      );
    }
    await deleteUsageOfPurged(server);
    for (const table of ['connection_usage', 'connection_usage_caller', 'connection_last_use']) {
      expect([table, await count(table, ofAll([purged, refused]))]).toEqual([table, 0]);
      expect([table, await count(table, ofAll([kept]))]).toEqual([table, 1]);
    }
  });
});

describe('the audit event of a write', () => {
  it('has method, path, parameter names and status as fields, and no parameter without a value', async () => {
    const id = await connectTo((request, response) => {
      response.statusCode = request.method === 'DELETE' ? 204 : 200;
      response.end();
    });
    await setPolicy(id, everything);
    const path = '/api/v1/users?activate=true&c2VjcmV0&c2VjcmV0==&limit=1';
    await useAndRead(id, path, { method: 'POST', body: '{}' });
    await useAndRead(id, '/api/v1/users/x', { method: 'DELETE' });
    await useAndRead(id, '/api/v1/users');
    const writes = await listWrites(id);
    expect(writes).toEqual([
      { outcome: 'OK', use: { method: 'DELETE', path: '/api/v1/users/x', queryParameters: [], status: 204 } },
      {
        outcome: 'OK',
        use: {
          method: 'POST',
          path: '/api/v1/users',
          queryParameters: ['activate', '*', '*', 'limit'],
          status: 200,
        },
      },
    ]);
    const overRest = await restClient(server.url, organisation.apiKey)(
      'GET',
      `/api/v1/audit-events?connectionId=${id}&writesOnly=true`,
    );
    expect(at(overRest.body, 'auditEvents')).toMatchObject(writes);
    expect(await server.dump()).not.toContain('c2VjcmV0');
  });

  it('says that the client left, and that nobody knows whether the app did it', async () => {
    const reached = Promise.withResolvers<void>();
    const id = await connectTo(() => reached.resolve());
    await setPolicy(id, everything);
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.write(
      `POST /api/v1/app-connections/okta/${id}/proxy/api/v1/users HTTP/1.1\r\nHost: localhost\r\n` +
        `Authorization: Bearer ${organisation.apiKey}\r\nContent-Length: 2\r\n\r\n{}`,
    );
    await reached.promise;
    socket.destroy();
    const [write] = await until('the event is stored', async () => {
      const writes = await listWrites(id);
      return writes.length > 0 ? writes : undefined;
    });
    expect(write).toMatchObject({ outcome: 'CLIENT_DISCONNECTED', use: { method: 'POST', status: null } });
  });
});

const everything = [{ effect: 'ALLOW', path: '/**' }];

async function setPolicy(id: string, rules: object[]): Promise<void> {
  const path = `/api/v1/app-connections/okta/${id}/use-policy`;
  expect((await restClient(server.url, organisation.apiKey)('PUT', path, { rules })).status).toBe(200);
}

async function listWrites(connectionId: string): Promise<object[]> {
  const { auditEvents } = await organisation.client.request<{ auditEvents: { nodes: object[] } }>(
    `query ($connectionId: UUID!) {
      auditEvents(filter: { connectionId: $connectionId, writesOnly: true }) {
        nodes { outcome use { method path queryParameters status } }
      }
    }`,
    { connectionId },
  );
  return auditEvents.nodes;
}
