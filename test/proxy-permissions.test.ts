import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { type Behaviour, slowHeaders, startOkta, type TestOkta, tokenRejected } from './testkit/okta.ts';
import { at, createConnectionOverRest, restClient } from './testkit/rest.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let host: TestOkta;
let server: TestServer;
/** Another server of the same database, on which the changes are made. */
let other: TestServer;
let organisation: TestOrganisation;
const rejectedTokens = new Set<string>();

/** Sends a few bytes each second, so that no limit of the response ends it. */
const endless: Behaviour = (_, response) => {
  response.writeHead(200).write('x');
  const drip = setInterval(() => response.write('x'), 200);
  response.once('close', () => clearInterval(drip));
};
const behaviours: Record<string, Behaviour> = { '/api/v1/endless': endless, '/api/v1/silent': slowHeaders };

beforeAll(async () => {
  host = await startOkta({
    handler: (request, response) => {
      const isRejected = rejectedTokens.has(request.headers.authorization ?? '');
      const behaviour = behaviours[request.url ?? ''] ?? (isRejected ? tokenRejected : handleFakeOkta);
      behaviour(request, response);
    },
  });
  const config = { trustedInstanceHosts: new Set([host.hostPort]) };
  server = await startTestServer({ config });
  other = testDatabaseUrl ? await startTestServer({ config, beside: server }) : server;
  organisation = await server.newOrganisation();
});
afterAll(async () => {
  if (other !== server) await other.close();
  await server.close();
  await host.close();
});

let connections = 0;

/** Creates a connection that may be used for everything, and a key to use it. */
async function connect(limits: { expiresAt?: Date } = {}) {
  connections += 1;
  const apiToken = `00token-of-connection-${connections}`;
  const change = restClient(other.url, organisation.apiKey);
  const { id } = await createConnectionOverRest(change, {
    name: `permissions-${connections}`,
    credentials: { instanceUrl: host.origin, apiToken },
  });
  const path = `/api/v1/app-connections/okta/${id}`;
  await change('PUT', `${path}/use-policy`, { rules: [{ effect: 'ALLOW', path: '/**' }] });
  const key = await organisation.newKey(['connections:use'], limits);
  const use = (target: string, init: object = {}) =>
    fetch(`${server.url}${path}/proxy${target}`, { ...init, headers: { authorization: `Bearer ${key}` } });
  return { id, path, key, apiToken, change, use };
}
type Connected = Awaited<ReturnType<typeof connect>>;

async function revoke({ key }: Connected) {
  const mine = 'query { viewer { apiKey { id } } }';
  const { viewer } = await other.clientFor(key).request<{ viewer: { apiKey: { id: string } } }>(mine);
  const client = other.clientFor(organisation.apiKey);
  await client.request('mutation ($id: UUID!) { revokeApiKey(id: $id) { apiKey { id } } }', viewer.apiKey);
}
const denyAll = ({ path, change }: Connected) =>
  change('PUT', `${path}/use-policy`, { rules: [{ effect: 'ALLOW', path: '/api/v1/other' }] });

describe.concurrent('a response that is being streamed', () => {
  it.each<[string, (connected: Connected) => Promise<unknown>]>([
    ['its connection is deleted', ({ path, change }) => change('DELETE', path)],
    ['the use policy no longer allows it', denyAll],
    [
      'the credentials are replaced',
      ({ path, change }) => change('PATCH', path, { credentials: { apiToken: 'another-token' } }),
    ],
    [
      'a verification finds that the credentials are rejected',
      ({ path, apiToken, change }) => {
        rejectedTokens.add(`SSWS ${apiToken}`);
        return change('POST', `${path}/verify`);
      },
    ],
    ['the API key of its caller is revoked', revoke],
  ])('ends on every server after %s', async (_, makeChange) => {
    const connected = await connect();
    const response = await connected.use('/api/v1/endless');
    expect(response.status).toBe(200);
    const broken = expect(response.text()).rejects.toThrow();
    const { status } = Object((await makeChange(connected)) ?? {});
    expect([200, 204, undefined]).toContain(status);
    await broken;
  });

  it('ends when the API key of its caller expires', async () => {
    const { use } = await connect({ expiresAt: new Date(Date.now() + 5_000) });
    const response = await use('/api/v1/endless');
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
  });

  it('goes on after a change that still allows it', async () => {
    const staying = await connect();
    const leaving = await connect();
    const { body } = await staying.use('/api/v1/endless');
    if (!body) throw new Error('There is no body.');
    const reader = body.getReader();
    await staying.change('PUT', `${staying.path}/use-policy`, { preset: 'READ_ONLY' });
    // Twice, so that both were checked after the change.
    for (const ending of [leaving, await connect()]) {
      const response = await ending.use('/api/v1/endless');
      await denyAll(ending);
      await response.text().catch(() => undefined);
    }
    for (let read = 0; read < 3; read += 1) expect(await reader.read()).toMatchObject({ done: false });
    await reader.cancel();
  });
});

describe.concurrent('a request without a response yet', () => {
  it('fails with the reason when it is no longer allowed, also in an upload, and this is audited', async ({
    expect,
  }) => {
    const connected = await connect();
    const upload = new Readable({ read() {} });
    upload.push('x');
    const [silent, uploading] = [
      connected.use('/api/v1/silent'),
      connected.use('/api/v1/silent', { method: 'POST', body: upload, duplex: 'half' }),
    ];
    await expect.poll(() => host.requests.filter(({ path }) => path === '/api/v1/silent').length).toBe(2);
    await denyAll(connected);
    for (const response of [await silent, await uploading]) {
      expect([response.status, await response.json()]).toMatchObject([
        403,
        { code: 'USE_DENIED', detail: expect.stringContaining('was ended while it ran') },
      ]);
    }
    const { body } = await connected.change('GET', `/api/v1/audit-events?connectionId=${connected.id}`);
    const events = at(body, 'auditEvents') as Record<string, unknown>[];
    expect(events).toContainEqual(
      expect.objectContaining({ action: 'USE_CONNECTION', outcome: 'USE_DENIED' }),
    );
  });

  it('fails with the reason in GraphQL', async ({ expect }) => {
    const connected = await connect();
    const query = `query ($id: UUID!) { oktaResponse(connectionId: $id, path: "/api/v1/endless") { status } }`;
    const before = host.requests.length;
    const asked = errorsOf(server.clientFor(connected.key).request(query, { id: connected.id }));
    await expect
      .poll(() => host.requests.slice(before).some(({ path }) => path === '/api/v1/endless'))
      .toBe(true);
    await revoke(connected);
    expect((await asked)[0]?.extensions.code).toBe('UNAUTHENTICATED');
  });
});
