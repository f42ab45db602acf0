import { once } from 'node:events';
import { request } from 'node:http';
import okta from '@okta/okta-sdk-nodejs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { at, createConnectionOverRest, type RestClient, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

const proxyDomain = 'connect.example.com';
let standIn: OktaStandIn;
let server: TestServer;
let rest: RestClient;
let connectionId: string;
let apiKey: string;

beforeAll(async () => {
  standIn = await startOktaStandIn();
  server = await startTestServer({
    config: { trustedInstanceHosts: new Set([standIn.hostPort]), proxyDomain },
  });
  const organisation = await server.newOrganisation();
  rest = restClient(server.url, organisation.apiKey);
  const credentials = { instanceUrl: standIn.origin, apiToken: '00a-token-of-the-connection' };
  connectionId = (await createConnectionOverRest(rest, { credentials })).id;
  const policy = `/api/v1/app-connections/okta/${connectionId}/use-policy`;
  await rest('PUT', policy, { preset: 'USERS_AND_GROUPS_WRITE' });
  apiKey = await organisation.newKey(['connections:use'], { connectionIds: [connectionId] });
});
afterAll(async () => {
  await server.close();
  await standIn[Symbol.asyncDispose]();
});
beforeEach(() => standIn.takeJournal());

/** The paths and queries that arrived at Okta, and the credentials that they came with. */
async function arrived() {
  const journal = await standIn.takeJournal();
  const tokens = journal.map(({ headers }) => headers[headers.indexOf('authorization') + 1]);
  return { requests: journal.map(({ method, url }) => `${method} ${url}`), tokens: [...new Set(tokens)] };
}

async function writes(): Promise<string[]> {
  const { body } = await rest('GET', '/api/v1/audit-events?action=USE_CONNECTION');
  const events = at(body, 'auditEvents') as { targetName: string | null }[];
  return events.flatMap(({ targetName }) => targetName ?? []);
}

describe("Okta's own Node SDK with the URL of the proxy", () => {
  const connect = () =>
    new okta.Client({
      orgUrl: `${server.url}/api/v1/app-connections/okta/${connectionId}/proxy`,
      token: apiKey,
      cacheMiddleware: null,
    });

  it('lists users over several pages', async () => {
    const logins: unknown[] = [];
    const users = await connect().userApi.listUsers({ limit: 100 });
    await users.each((user) => logins.push(user.profile?.login));
    expect([logins.length, new Set(logins).size]).toEqual([250, 250]);
    expect(await arrived()).toEqual({
      requests: [0, 100, 200].map((after) => `GET /api/v1/users?limit=100${after ? `&after=${after}` : ''}`),
      tokens: ['SSWS 00a-token-of-the-connection'],
    });
  });

  it('gets a user by the login', async () => {
    const user = await connect().userApi.getUser({ userId: 'user7@example.com' });
    expect([user.id, user.profile?.lastName]).toEqual(['00u00000000000000007', '7']);
  });

  it('creates a group, adds a member and deletes the group, each of which is audited', async () => {
    const { groupApi } = connect();
    const group = await groupApi.createGroup({ group: { profile: { name: 'From the SDK' } } });
    const groupId = String(group.id);
    await groupApi.assignUserToGroup({ groupId, userId: '00u00000000000000007' });
    const members: unknown[] = [];
    await (await groupApi.listGroupUsers({ groupId })).each(({ id }) => members.push(id));
    expect([group.profile?.name, members]).toEqual(['From the SDK', ['00u00000000000000007']]);
    await groupApi.deleteGroup({ groupId });
    const expected = [
      `DELETE /api/v1/groups/${groupId} 204`,
      `PUT /api/v1/groups/${groupId}/users/00u00000000000000007 204`,
      'POST /api/v1/groups 200',
    ];
    expect((await writes()).slice(0, 3)).toEqual(expected);
  });

  it('shows the code and the reason of a request that the use policy denies', async () => {
    const denied = await connect()
      .applicationApi.listApplications()
      .then((applications) => applications.next())
      .catch((error: unknown) => error);
    expect(denied).toMatchObject({ status: 403, errorCode: 'USE_DENIED' });
    expect(String(at(denied, 'message'))).toContain(
      'No rule of the use policy USERS_AND_GROUPS_WRITE allows',
    );
    expect(String(at(denied, 'message'))).toContain('testUsePolicy');
    expect((await arrived()).requests).toEqual([]);
  });

  it("shows Okta's own errors", async () => {
    const missing = await connect()
      .userApi.getUser({ userId: 'nobody' })
      .catch((error: unknown) => error);
    expect(missing).toMatchObject({ status: 404, errorCode: 'E0000007' });
  });
});

describe("Terraform's provider for Okta with PROXY_DOMAIN", () => {
  /** Sends a request as the provider does with `org_name`, `base_url` and `api_token`. */
  async function provide(method: string, path: string, body?: object) {
    const sent = request(server.url, {
      method,
      path,
      headers: {
        host: `${connectionId}.${proxyDomain}`,
        accept: 'application/json',
        'content-type': 'application/json',
        authorization: `SSWS ${apiKey}`,
        'user-agent': 'okta-sdk-golang/5.0.0 golang/go1.24 linux/amd64 okta-terraform/6.1.0',
        // Behind a reverse proxy that terminates TLS.
        'x-forwarded-proto': 'https',
      },
    }).end(body && JSON.stringify(body));
    const [response] = await once(sent, 'response');
    const text = (await response.setEncoding('utf8').toArray()).join('');
    const { statusCode: status, headers } = response;
    return { status, headers, content: text && JSON.parse(text) };
  }

  it('creates, refreshes, changes and destroys a resource, and reads lists page by page', async () => {
    const created = await provide('POST', '/api/v1/groups', { profile: { name: 'By Terraform' } });
    const path = `/api/v1/groups/${created.content.id}`;
    const changed = await provide('PUT', path, { profile: { name: 'Changed' } });
    expect([created.status, changed.status]).toEqual([200, 200]);
    expect((await provide('GET', path)).content.profile.name).toBe('Changed');
    expect((await provide('DELETE', path)).status).toBe(204);
    expect(await provide('GET', path)).toMatchObject({ status: 404, content: { errorCode: 'E0000007' } });

    const names: string[] = [];
    for (let next: string | undefined = '/api/v1/groups?limit=100'; next; ) {
      const { content, headers } = await provide('GET', next);
      expect(headers['x-rate-limit-remaining']).toMatch(/^\d+$/);
      names.push(...content.map(({ profile }: { profile: { name: string } }) => profile.name));
      const [, url] = /<([^<>]*)>; rel="next"/.exec(String(headers.link)) ?? [];
      if (url) expect(new URL(url).host).toBe(`${connectionId}.${proxyDomain}`);
      next = url && new URL(url).pathname + new URL(url).search;
    }
    expect(names).toHaveLength(250);
    expect((await arrived()).tokens).toEqual(['SSWS 00a-token-of-the-connection']);
  });
});
