import { connect } from 'node:net';
import { gql } from 'graphql-request';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { testDatabaseUrl } from './testkit/database.ts';
import { moveClock, restoreClock } from './testkit/move-clock.ts';
import { behavingAt, json, startOkta, type TestOkta } from './testkit/okta.ts';
import { type JournalEntry, type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { until } from './testkit/process.ts';
import { at, createConnectionOverRest, restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let okta: OktaStandIn;
/** An Okta that does what a test says. */
let host: TestOkta;
/** Servers of one database; one on the embedded database. */
let servers: TestServer[];
let organisation: TestOrganisation;

beforeAll(async () => {
  okta = await startOktaStandIn();
  host = await startOkta();
  const config = { trustedInstanceHosts: new Set([okta.hostPort, host.hostPort]) };
  const options = { config, checkIntervalMs: 100 };
  const one = await startTestServer(options);
  servers = testDatabaseUrl ? [one, await startTestServer({ ...options, beside: one })] : [one];
  organisation = await one.newOrganisation();
});
afterAll(async () => {
  for (const server of servers.toReversed()) await server.close();
  await host.close();
  await okta[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await okta.setNonceRequired(false);
  await okta.setLimit(100_000);
});
afterEach(async () => {
  restoreClock();
  await okta.setClockAhead(0);
});

let connections = 0;

/** Creates a connection whose key the server makes, and through which everything may be sent. */
async function createConnection(
  instanceUrl: string,
): Promise<{ id: string; clientId: string; jwksUrl: string }> {
  connections += 1;
  const rest = restClient(serverAt(0).url, organisation.apiKey);
  const clientId = `0oa${String(connections).padStart(17, '0')}`;
  const { id, credentials } = await createConnectionOverRest(rest, {
    name: `service-app-${connections}`,
    method: 'service-app',
    credentials: { instanceUrl, clientId, scopes: ['okta.users.manage', 'okta.groups.manage'] },
  });
  const rules = [{ effect: 'ALLOW', path: '/**' }];
  await rest('PUT', `/api/v1/app-connections/okta/${id}/use-policy`, { rules });
  return { id, clientId, jwksUrl: credentials.jwksUrl };
}

/** Creates a verified connection to the stand-in, and forgets the requests so far. */
async function connectToOkta({ requiresDpop = true } = {}): Promise<string> {
  const { id, clientId, jwksUrl } = await createConnection(okta.origin);
  const scopes = ['okta.users.manage', 'okta.groups.manage'];
  await okta.setServiceApp({ clientId, scopes, jwksUrl, requiresDpop });
  await verify(id);
  await okta.takeJournal();
  return id;
}

async function verify(id: string): Promise<void> {
  const verified = await restClient(serverAt(0).url, organisation.apiKey)(
    'POST',
    `/api/v1/app-connections/okta/${id}/verify`,
  );
  expect(at(verified.body, 'verification')).toMatchObject({ status: 'VERIFIED' });
}

/** Lets one of the servers check a connection, and waits until it has. */
async function check(id: string): Promise<void> {
  const em = serverAt(0).asOwner();
  const readTime = async () => {
    const sql = 'select verification_checked_at::text as at from app_connection where id = ?';
    return (await em.execute<[{ at: string }]>(sql, [id]))[0].at;
  };
  const before = await readTime();
  await until('a check of the connection', async () => {
    if ((await readTime()) !== before) return true;
    // Checks spare connections that are used.
    await em.execute('delete from connection_usage where connection_id = ?', [id]);
    const due = `update app_connection set next_check_at = now() - interval '1 minute' where id = ?`;
    await em.execute(due, [id]);
    return undefined;
  });
}

function serverAt(index: number): TestServer {
  const server = servers[index % servers.length];
  if (!server) throw new Error('There is no server.');
  return server;
}

/** Sends a request through a connection. */
function use(id: string, path: string, init: RequestInit = {}, index = 0): Promise<Response> {
  return fetch(`${serverAt(index).url}/api/v1/app-connections/okta/${id}/proxy${path}`, {
    ...init,
    headers: {
      authorization: `Bearer ${organisation.apiKey}`,
      'content-type': 'application/json',
      ...(init.headers as Record<string, string>),
    },
  });
}

/** Lets requests with a DPoP token need a nonce that the servers do not know. */
async function requireNewNonce(): Promise<void> {
  await okta.setNonceRequired(true);
  await okta.renewNonce();
}

/** Moves the clocks of the servers and of Okta on. */
async function moveClocksOn(ms: number): Promise<void> {
  moveClock(ms);
  await okta.setClockAhead(ms);
}

/** Moves all clocks on by a minute, after which an access token is no longer new. */
const waitAMinute = () => moveClocksOn(60_000);

const users = '/api/v1/users?limit=1';
const isTokenRequest = ({ url }: JournalEntry) => url === '/oauth2/v1/token';
const header = ({ headers }: JournalEntry, name: string) =>
  headers.find((_, index) => index % 2 === 1 && headers[index - 1]?.toLowerCase() === name);
const bodyOf = ({ body }: JournalEntry) => Buffer.from(body, 'base64').toString();
const statuses = (journal: readonly JournalEntry[]) =>
  journal.filter((entry) => !isTokenRequest(entry)).map(({ status }) => status);

/** Expects that each of these requests has another proof. */
function expectOwnProofs(journal: readonly JournalEntry[]): void {
  const proofs = journal.map((entry) => header(entry, 'dpop'));
  expect(proofs).not.toContain(undefined);
  expect(new Set(proofs).size).toBe(journal.length);
}

describe('the access token of a service app', () => {
  it.each([
    ['200 requests with DPoP', true, 4],
    ['800 requests without DPoP', false, 16],
  ])(
    'is minted once by each server for %s, and once more after its hour',
    async (_, requiresDpop, batches) => {
      const id = await connectToOkta({ requiresDpop });
      const sendBatch = async () => {
        const sent = Array.from({ length: 50 }, async (_, index) => {
          const response = await use(id, users, { headers: { prefer: 'wait=10' } }, index);
          await response.arrayBuffer();
          return response.status;
        });
        expect(new Set(await Promise.all(sent))).toEqual(new Set([200]));
      };
      for (let batch = 0; batch < batches; batch += 1) await sendBatch();
      const journal = await okta.takeJournal();
      const minted = journal.filter((entry) => isTokenRequest(entry) && entry.status === 200);
      // The first server has one since the verification.
      expect(minted).toHaveLength(servers.length - 1);
      const requests = journal.filter((entry) => !isTokenRequest(entry));
      expect(requests).toHaveLength(50 * batches);
      const authorizations = new Set(requests.map((entry) => header(entry, 'authorization')));
      expect(authorizations.size).toBe(servers.length);
      if (requiresDpop) expectOwnProofs(journal);

      await moveClocksOn(61 * 60_000);
      await sendBatch();
      const again = (await okta.takeJournal()).filter(
        (entry) => isTokenRequest(entry) && entry.status === 200,
      );
      expect(again).toHaveLength(servers.length);
    },
  );

  it('is minted once by each server for verifications, checks, requests and typed reads together', async () => {
    const { id, clientId, jwksUrl } = await createConnection(okta.origin);
    await okta.takeJournal();
    await okta.setServiceApp({ clientId, scopes: ['okta.users.manage', 'okta.groups.manage'], jwksUrl });
    const minted = async () => {
      const journal = await okta.takeJournal();
      return journal.filter((entry) => isTokenRequest(entry) && entry.status === 200).length;
    };
    await verify(id);
    const useAll = () =>
      Promise.all(
        Array.from({ length: 20 }, async (_, index) => {
          if (index % 2 === 0) return expect((await use(id, users, {}, index / 2)).status).toBe(200);
          const client = serverAt((index - 1) / 2).clientFor(organisation.apiKey);
          const read = 'query ($id: UUID!) { oktaUsers(connectionId: $id, first: 2) { nodes { id } } }';
          expect(await client.request(read, { id })).toMatchObject({ oktaUsers: { nodes: [{}, {}] } });
        }),
      );
    await useAll();
    for (let count = 0; count < 3; count += 1) await check(id);
    await useAll();
    expect(await minted()).toBe(servers.length);

    // A caller who asks whether the credentials work gets the answer of another token request, and requests use its token.
    await verify(id);
    await useAll();
    await check(id);
    expect(await minted()).toBe(1);
  });

  it('is asked for again by a check of a connection that Okta did not verify last time', async () => {
    const id = await connectToOkta();
    await servers[0]
      ?.asOwner()
      .execute(`update app_connection set verification_status = 'UNREACHABLE' where id = ?`, [id]);
    await check(id);
    const minted = (await okta.takeJournal()).filter(
      (entry) => isTokenRequest(entry) && entry.status === 200,
    );
    expect(minted).toHaveLength(1);
  });

  it('is in no response, as it is or encoded', async () => {
    const id = await connectToOkta();
    await use(id, users);
    const [request] = (await okta.takeJournal()).filter((entry) => !isTokenRequest(entry));
    const token = header(request as JournalEntry, 'authorization')?.replace('DPoP ', '') ?? '';
    expect(token.length).toBeGreaterThan(500);
    const base64 = Buffer.from(token).toString('base64');
    const hex = Buffer.from(token).toString('hex');
    for (const status of [200, 404]) {
      await okta.answerNext('/api/v1/users', {
        status,
        content: { token, base64, hex, profile: { login: `x${token}y` } },
        headers: { 'x-token': token, 'content-type': 'application/json' },
      });
      const response = await use(id, users);
      const text = `${JSON.stringify([...response.headers])} ${await response.text()}`;
      expect(response.status).toBe(status);
      for (const form of [token, base64.slice(4, -4), hex]) expect(text).not.toContain(form);
      expect(text).toContain('***');
      expect(text).not.toContain('dpop-nonce');
    }
  });
});

describe('a request with DPoP that Okta refuses', () => {
  it('because of its rate limit, and then of its nonce, is repeated with a proof of its own', async () => {
    const id = await connectToOkta();
    await requireNewNonce();
    const reset = String(Math.floor(Date.now() / 1_000) + 1);
    await okta.answerNext('/api/v1/users', {
      status: 429,
      headers: { 'x-rate-limit-limit': '100', 'x-rate-limit-remaining': '0', 'x-rate-limit-reset': reset },
      content: {},
    });
    expect((await use(id, users, { headers: { prefer: 'wait=10' } })).status).toBe(200);
    const journal = await okta.takeJournal();
    expect(statuses(journal)).toEqual([429, 400, 200]);
    expectOwnProofs(journal);
  });

  it('because of its nonce is repeated with its body, and audited once', async () => {
    const id = await connectToOkta();
    await requireNewNonce();
    const body = JSON.stringify({ profile: { name: 'x'.repeat(60_000) } });
    expect((await use(id, '/api/v1/groups', { method: 'POST', body })).status).toBe(200);
    const journal = await okta.takeJournal();
    expect(statuses(journal)).toEqual([400, 200]);
    expectOwnProofs(journal);
    expect(journal.filter((entry) => !isTokenRequest(entry)).map(bodyOf)).toEqual([body, body]);
    const { body: events } = await restClient(serverAt(0).url, organisation.apiKey)(
      'GET',
      `/api/v1/audit-events?connectionId=${id}&writesOnly=true`,
    );
    expect(at(events, 'auditEvents')).toMatchObject([{ outcome: 'OK', use: { status: 200 } }]);
    expect(at(events, 'auditEvents')).toHaveLength(1);
  });

  it('because of its nonce is the response for a body of more than 64 KiB, which is not kept', async () => {
    const id = await connectToOkta();
    await requireNewNonce();
    const body = JSON.stringify({ profile: { name: 'x'.repeat(300_000) } });
    expect((await use(id, '/api/v1/groups', { method: 'POST', body })).status).toBe(400);
    expect((await use(id, '/api/v1/groups', { method: 'POST', body })).status).toBe(200);
    const journal = await okta.takeJournal();
    expect(statuses(journal)).toEqual([400, 200]);
    expect(bodyOf(journal.at(-1) as JournalEntry)).toBe(body);
  });

  it('because its token has ended, and then of its nonce, is repeated', async () => {
    const id = await connectToOkta();
    await use(id, users);
    await waitAMinute();
    await okta.endAccessTokens();
    await requireNewNonce();
    await okta.takeJournal();
    expect((await use(id, users)).status).toBe(200);
    expect(statuses(await okta.takeJournal())).toEqual([401, 400, 200]);
  });

  it('because its token has ended is repeated with its body', async () => {
    const id = await connectToOkta({ requiresDpop: false });
    await use(id, users);
    await waitAMinute();
    await okta.endAccessTokens();
    await okta.takeJournal();
    const body = '{"profile":{"name":"after-the-end"}}';
    expect((await use(id, '/api/v1/groups', { method: 'POST', body })).status).toBe(200);
    const journal = await okta.takeJournal();
    expect(journal.map(({ status }) => status)).toEqual([401, 200, 200]);
    expect(bodyOf(journal.at(-1) as JournalEntry)).toBe(body);
  });

  it('before it has read the body is repeated with all of it', async () => {
    let refusals = 0;
    const received: string[] = [];
    const token = { access_token: 'an-access-token', token_type: 'Bearer', expires_in: 3_600 };
    host.behave(
      behavingAt({
        '/oauth2/v1/token': json(token),
        '/api/v1/users?limit=1': json([{}]),
        '/api/v1/x': async (request, response) => {
          if (refusals === 0) {
            refusals += 1;
            const headers = { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': 'new' };
            response.writeHead(401, { ...headers, connection: 'close' }).end();
            return;
          }
          received.push(Buffer.concat(await request.toArray().catch(() => [])).toString());
          response.end('{}');
        },
      }),
    );
    const { id } = await createConnection(host.origin);
    await verify(id);
    const body = 'x'.repeat(50_000);
    expect((await use(id, '/api/v1/x', { method: 'POST', body })).status).toBe(200);
    expect(received).toEqual([body]);

    // An upload that is refused in the middle, and whose client then leaves.
    refusals = 0;
    const socket = connect(Number(new URL(serverAt(0).url).port), '127.0.0.1');
    socket.write(
      `POST /api/v1/app-connections/okta/${id}/proxy/api/v1/x HTTP/1.1\r\nHost: localhost\r\n` +
        `Authorization: Bearer ${organisation.apiKey}\r\nContent-Length: 50000\r\n\r\nhalf of it`,
    );
    await vi.waitFor(() => expect(refusals).toBe(1));
    socket.destroy();
    expect((await use(id, '/api/v1/x', { method: 'POST', body })).status).toBe(200);
    expect(received).toContain(body);
  });

  it('because of its nonce is repeated in GraphQL: reads, typed reads and writes', async () => {
    const id = await connectToOkta();
    await requireNewNonce();
    const { client } = organisation;
    const read = gql`
      query ($id: UUID!) {
        oktaUsers(connectionId: $id, first: 2) { nodes { id } }
        oktaResponse(connectionId: $id, path: "/api/v1/groups", query: "limit=1") { status }
      }
    `;
    expect(await client.request(read, { id })).toMatchObject({
      oktaUsers: { nodes: [{}, {}] },
      oktaResponse: { status: 200 },
    });
    await okta.renewNonce();
    const write = gql`
      mutation ($input: ExecuteOktaRequestInput!) { executeOktaRequest(input: $input) { status body } }
    `;
    const body = '{"profile":{"name":"made-in-graphql"}}';
    const input = { connectionId: id, method: 'POST', path: '/api/v1/groups', body };
    expect(await client.request(write, { input })).toMatchObject({
      executeOktaRequest: { status: 200, body: { profile: { name: 'made-in-graphql' } } },
    });
    const journal = await okta.takeJournal();
    expect(statuses(journal).slice(-2)).toEqual([400, 200]);
    expectOwnProofs(journal);
  });
});
