import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addOrganisation } from '../src/administration/organisations.ts';
import { okta as oktaApp } from '../src/apps/okta/okta.ts';
import { Secret } from '../src/common/secret.ts';
import { firstOrganisation } from '../src/identity/organisations.ts';
import { rateLimited, startOkta, type TestOkta, tokenRejected } from './testkit/okta.ts';
import { at, createCheckedClient, createConnectionOverRest, oktaBody, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

const root = '/api/v1/app-connections';
const okta = `${root}/okta`;
const unknownId = '00000000-0000-4000-8000-000000000000';

/** The documented sample request and response of the API that these routes are compatible with. */
const seedRequest = `{
            "name": "my-okta-connection",
            "method": "api-token",
            "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78",
            "credentials": {
                "instanceUrl": "https://example.okta.com",
                "apiToken": "<YOUR-API-TOKEN>"
            }
        }`;
const seedResponse = `{
  "appConnection": {
      "id": "e5d18aca-86f7-4026-a95e-efb8aeb0d8e6",
      "name": "my-okta-connection",
      "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78",
      "description": null,
      "version": 1,
      "orgId": "6f03caa1-a5de-43ce-b127-95a145d3464c",
      "createdAt": "2025-04-23T19:46:34.831Z",
      "updatedAt": "2025-04-23T19:46:34.831Z",
      "isPlatformManagedCredentials": false,
      "credentialsHash": "7c2d371dec195f82a6a0d5b41c970a229cfcaf88e894a5b6395e2dbd0280661f",
      "app": "okta",
      "method": "api-token",
      "credentials": {
          "instanceUrl": "https://example.okta.com"
      }
  }
}`;

const trusted = new Set<string>();
let upstream: TestOkta;
let server: TestServer;
beforeAll(async () => {
  upstream = await startOkta();
  trusted.add(upstream.hostPort);
  const okta = oktaApp({ trustedHosts: trusted });
  const { account: _, ...like } = okta;
  server = await startTestServer({
    config: { trustedInstanceHosts: trusted },
    outbound: { timeoutMs: 3_000 },
    apps: [okta, { ...like, id: 'other', name: 'Other' }],
  });
});
afterAll(async () => {
  await server.close();
  await upstream.close();
});

/** Creates an organisation, and a client that checks every response against the OpenAPI document. */
async function fresh() {
  const organisation = await server.newOrganisation();
  return { ...organisation, rest: await createCheckedClient(server.url, organisation.apiKey) };
}

const namesIn = (body: unknown) =>
  Object(at(body, 'appConnections')).map(({ name }: { name: string }) => name);

describe('REST create connection', () => {
  test('returns the documented response for the documented request, member by member and in order', async () => {
    const seed = await startTestServer();
    const key = 'seed-key-seed-key-seed-key-seed-key-seed';
    const em = seed.asOwner();
    await addOrganisation(em, seed.vault, firstOrganisation(new Secret(key)));
    await em.flush();
    const { status, headers, text } = await restClient(seed.url, key)('POST', okta, seedRequest);
    await seed.close();
    expect([status, headers.get('content-type')]).toEqual([200, 'application/json']);
    const varying =
      /"(id|createdAt|updatedAt|credentialsHash)":"(?:[0-9a-f-]{36,64}|[\d-]{10}T[\d:]{8}\.\d{3}Z)"/g;
    const shape = (json: string) => json.replace(varying, '"$1":"…"');
    expect(shape(text)).toBe(shape(JSON.stringify(JSON.parse(seedResponse))));
    expect(shape(text).match(/"…"/g)).toHaveLength(4);
  });

  test('verifies and stores the connection as GraphQL does, and GraphQL returns the same', async () => {
    const { rest, client } = await fresh();
    const created = await createConnectionOverRest(rest, { description: ' For the sync. ' });
    const { appConnection } = await client.request<{ appConnection: unknown }>(
      'query ($id: UUID!) { appConnection(id: $id) { description version createdAt credentialsHash verification { status } } }',
      { id: created.id },
    );
    const { description, version, createdAt, credentialsHash } = created;
    const verification = { status: 'VERIFIED' };
    expect(description).toBe('For the sync.');
    expect(appConnection).toEqual({
      description,
      version,
      createdAt,
      credentialsHash,
      verification,
    });
  });

  test('needs no method when the app has one, and no project', async () => {
    const { rest } = await fresh();
    expect(await createConnectionOverRest(rest, { method: undefined })).toMatchObject({
      method: 'api-token',
      projectId: null,
    });
  });

  test('fails, or saves unverified if requested, when the host is unreachable', async () => {
    const { rest } = await fresh();
    const limited = oktaBody({}, { apiToken: 'limited' });
    expect((await rest('POST', okta, limited)).status).toBe(503);
    const { status } = await rest('POST', okta, { ...limited, onUnreachable: 'SAVE_UNVERIFIED' });
    expect(status).toBe(200);
  });

  test('reports every issue at once with its path, without echoing a value', async () => {
    const { rest } = await fresh();
    const { status, body, text } = await rest('POST', okta, {
      name: 'Planted-Here',
      description: 7,
      projectId: 'planted-here',
      credentials: { instanceUrl: 'http://planted-here', apiToken: ['planted-here'] },
      onUnreachable: 'planted-here',
    });
    expect(status).toBe(422);
    expect(Object(at(body, 'issues')).map(({ path }: { path: unknown }) => path)).toEqual([
      ['name'],
      ['description'],
      ['projectId'],
      ['onUnreachable'],
      ['credentials', 'instanceUrl'],
      ['credentials', 'apiToken'],
    ]);
    expect(text).not.toMatch(/planted/i);
  });

  test('rejects unknown members, so that a misspelt member is not ignored', async () => {
    const { rest } = await fresh();
    const { status, body, text } = await rest('POST', okta, oktaBody({ planted: 'x' }));
    expect([status, at(body, 'issues', 0, 'path')]).toEqual([422, []]);
    expect(text).toContain('description, projectId');
    expect(text).not.toContain('planted');
  });

  test('rejects the token in a field that is not secret', async () => {
    const { rest } = await fresh();
    const { id } = await createConnectionOverRest(rest);
    const description = 'It is 00abcdefghij.';
    const credentials = { apiToken: '00abcdefghij' };
    for (const { status, body } of [
      await rest('POST', okta, oktaBody({ name: 'other', description }, credentials)),
      await rest('PATCH', `${okta}/${id}`, { description, credentials }),
    ]) {
      expect([status, at(body, 'issues', 0, 'path')]).toEqual([422, ['description']]);
    }
  });
});

describe('REST error response', () => {
  test('is application/problem+json with the code, issues and remedy of the GraphQL error', async () => {
    const { rest } = await fresh();
    await createConnectionOverRest(rest);
    const { status, headers, body } = await rest('POST', okta, oktaBody());
    expect([status, headers.get('content-type')]).toEqual([409, 'application/problem+json']);
    expect(body).toEqual({
      type: 'urn:app-connections:problem:name-taken',
      title: 'Another connection in the same project, or another project of the organisation, has this name.',
      status: 409,
      detail: 'Another connection without a project has this name.',
      instance: `urn:uuid:${headers.get('x-request-id')}`,
      code: 'NAME_TAKEN',
      issues: [{ path: ['name'], message: 'Another connection without a project has this name.' }],
      remedy: 'Choose another name.',
    });
  });

  test('has the status of its code', async () => {
    const { rest, newKey } = await fresh();
    const reader = restClient(server.url, await newKey(['connections:read']));
    upstream.behave(tokenRejected);
    const outcomes = [
      await reader('POST', okta, oktaBody()),
      await rest('POST', okta, oktaBody({ projectId: unknownId })),
      await rest('POST', okta, oktaBody({}, { instanceUrl: upstream.origin })),
      await rest('POST', okta, oktaBody({}, { apiToken: 'weak' })),
      await rest('POST', okta, oktaBody({}, { instanceUrl: 'https://127.0.0.1' })),
      await rest('POST', okta, oktaBody({}, { apiToken: 'broken' })),
    ];
    expect(outcomes.map(({ status, body }) => [at(body, 'code'), status])).toEqual([
      ['FORBIDDEN', 403],
      ['NOT_FOUND', 404],
      ['CREDENTIALS_REJECTED', 422],
      ['INSUFFICIENT_PERMISSIONS', 422],
      ['HOST_NOT_ALLOWED', 422],
      ['UPSTREAM_UNREACHABLE', 503],
    ]);
  });

  test('has Retry-After when the time is known', async () => {
    const { rest } = await fresh();
    const resetAt = new Date(Math.ceil(Date.now() / 1_000) * 1_000 + 30_000);
    upstream.behave(rateLimited(resetAt));
    const { status, headers, body } = await rest(
      'POST',
      okta,
      oktaBody({}, { instanceUrl: upstream.origin }),
    );
    expect([status, at(body, 'code')]).toEqual([503, 'UPSTREAM_RATE_LIMITED']);
    expect(at(body, 'retryAt')).toBe(resetAt.toISOString());
    const seconds = Number(headers.get('retry-after'));
    expect(seconds).toBeGreaterThan(25);
    expect(seconds).toBeLessThan(32);
  });

  test('for an internal error contains only the request id for the log', async () => {
    const broken = await startTestServer();
    const { apiKey } = await broken.newOrganisation();
    await broken.asOwner().execute('drop table app_connection cascade');
    const rest = await createCheckedClient(broken.url, apiKey);
    const { status, headers, body } = await rest('GET', okta);
    const requestId = headers.get('x-request-id');
    expect([status, body]).toEqual([
      500,
      {
        type: 'urn:app-connections:problem:internal-server-error',
        title: 'The server failed.',
        status: 500,
        detail: 'The server failed unexpectedly.',
        instance: `urn:uuid:${requestId}`,
        code: 'INTERNAL_SERVER_ERROR',
        requestId,
        remedy: expect.stringContaining('request id'),
      },
    ]);
    const lines = broken.logs().split('\n');
    const line = lines.find((each) => each.includes('unexpected error')) ?? '';
    expect(line).toContain(String(requestId));
    expect(line).toContain('42P01');
    expect(line).not.toContain('select "');
    await broken.close();
  });
});

describe('REST get and list connections', () => {
  test('returns a connection by id, in either case, and by name', async () => {
    const { rest, projectId } = await fresh();
    const created = await createConnectionOverRest(rest, { projectId: projectId.toUpperCase() });
    expect(created.projectId).toBe(projectId);
    for (const path of [
      `${okta}/${created.id}`,
      `${okta}/${created.id.toUpperCase()}`,
      `${okta}/connection-name/my-okta-connection?projectId=${projectId.toUpperCase()}`,
    ]) {
      expect((await rest('GET', path)).body).toEqual({ appConnection: created });
    }
    const { status } = await rest('GET', `${okta}/connection-name/my-okta-connection`);
    expect(status, 'without the project').toBe(404);
  });

  test("returns NOT_FOUND for another organisation's and for another app's connection", async () => {
    const { rest } = await fresh();
    const { rest: otherOrganisation } = await fresh();
    const { id } = await createConnectionOverRest(rest);
    for (const [method, body] of [['GET'], ['DELETE'], ['PATCH', { name: 'taken-over' }]] as const) {
      expect((await otherOrganisation(method, `${okta}/${id}`, body)).status).toBe(404);
      expect((await rest(method, `${root}/other/${id}`, body)).status).toBe(404);
    }
    expect((await rest('GET', `${root}/other/connection-name/my-okta-connection`)).status).toBe(404);
    expect((await rest('GET', `${okta}/${id}`)).status, 'and left it alone').toBe(200);
  });

  test('lists connections of all apps or of one, in a project, in none, or in the whole organisation', async () => {
    const { rest, projectId } = await fresh();
    await createConnectionOverRest(rest, { name: 'a', projectId });
    await createConnectionOverRest(rest, { name: 'b' });
    const { status } = await rest('POST', `${root}/other`, oktaBody({ name: 'c' }));
    expect(status).toBe(200);
    for (const [path, names] of [
      [root, ['a', 'b', 'c']],
      [okta, ['a', 'b']],
      [`${root}/other`, ['c']],
      [`${root}?projectId=${projectId}`, ['a']],
      [`${root}?projectId=null`, ['b', 'c']],
      [`${okta}?projectId=null`, ['b']],
      [`${okta}?projectId=${unknownId}`, []],
    ] as const) {
      expect(namesIn((await rest('GET', path)).body), path).toEqual(names);
    }
  });

  test('pages with the Link header until the last page', async () => {
    const { rest, projectId } = await fresh();
    for (const name of ['a', 'b', 'c', 'd', 'e']) await createConnectionOverRest(rest, { name, projectId });
    await createConnectionOverRest(rest, { name: 'elsewhere' });
    for (const start of [root, okta, `${okta}/available`]) {
      const seen: string[] = [];
      let path: string | undefined = `${start}?limit=2&projectId=${projectId}`;
      let pages = 0;
      while (path !== undefined) {
        const { body, headers } = await rest('GET', path);
        seen.push(...namesIn(body));
        pages += 1;
        path = /^<(.+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1];
      }
      expect([seen, pages], start).toEqual([['a', 'b', 'c', 'd', 'e'], 3]);
    }
  });

  test('returns 20 by default, and 1 to 100 on request', async () => {
    const { rest } = await fresh();
    for (let count = 10; count < 31; count += 1) await createConnectionOverRest(rest, { name: `c${count}` });
    const { body, headers } = await rest('GET', okta);
    expect(namesIn(body)).toHaveLength(20);
    expect(headers.get('link')).toContain('rel="next"');
    expect(namesIn((await rest('GET', `${okta}?limit=100`)).body)).toHaveLength(21);
    for (const limit of ['0', '101', '-1', '1.5', '1e1', '', 'x', '99999999999999999999']) {
      const { status, body: problem } = await rest('GET', `${okta}?limit=${limit}`);
      expect([limit, status, at(problem, 'issues', 0, 'path')]).toEqual([limit, 422, ['limit']]);
    }
  });

  test('lists the projects of the caller with their names and ids', async () => {
    const { rest, orgId, projectId } = await fresh();
    const { id } = await createConnectionOverRest(rest, { projectId });
    const { body } = await rest('GET', `${okta}/available?projectId=${projectId}`);
    expect(body).toEqual({
      appConnections: [{ id, name: 'my-okta-connection', app: 'okta', projectId, orgId }],
    });
  });

  test('lists the apps and their authentication methods', async () => {
    const { apiKey } = await server.newOrganisation();
    const plain = await startTestServer();
    const { apiKey: plainKey } = await plain.newOrganisation();
    const { body } = await restClient(plain.url, plainKey)('GET', `${root}/options`);
    await plain.close();
    expect(body).toEqual({
      appConnectionOptions: [{ name: 'Okta', app: 'okta', methods: ['api-token', 'service-app'] }],
    });
    const { body: two } = await restClient(server.url, apiKey)('GET', `${root}/options`);
    expect(at(two, 'appConnectionOptions')).toHaveLength(2);
  });

  test('answers HEAD like GET without the body', async () => {
    const { rest, apiKey } = await fresh();
    const { id } = await createConnectionOverRest(rest);
    const { status, headers, text } = await restClient(server.url, apiKey)('HEAD', `${okta}/${id}`);
    expect([status, headers.get('content-type'), text]).toEqual([200, 'application/json', '']);
  });
});

describe('REST update connection', () => {
  test('keeps absent members, clears null members, and returns the new version', async () => {
    const { rest } = await fresh();
    const created = await createConnectionOverRest(rest, { description: 'Before' });
    const renamed = await rest('PATCH', `${okta}/${created.id}`, { name: 'renamed' });
    expect(at(renamed.body, 'appConnection')).toMatchObject({
      name: 'renamed',
      description: 'Before',
      version: 2,
    });
    const cleared = await rest('PATCH', `${okta}/${created.id}`, { description: null, version: 2 });
    expect(at(cleared.body, 'appConnection')).toMatchObject({
      name: 'renamed',
      description: null,
      version: 3,
    });
  });

  test('replaces a token that Okta accepts, and keeps the old one otherwise', async () => {
    const { rest, client } = await fresh();
    const created = await createConnectionOverRest(rest);
    const path = `${okta}/${created.id.toUpperCase()}`;
    const { status } = await rest('PATCH', path, { credentials: { apiToken: 'revoked' } });
    expect(status).toBe(422);
    expect((await rest('GET', path)).body).toEqual({ appConnection: created });
    const changed = await rest('PATCH', path, { credentials: { apiToken: 'another-good-token' } });
    expect(at(changed.body, 'appConnection', 'credentialsHash')).toMatch(/^[0-9a-f]{64}$/);
    expect(at(changed.body, 'appConnection', 'credentialsHash')).not.toBe(created.credentialsHash);
    const verify =
      'mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { verification { status } } } }';
    expect(await client.request(verify, { id: created.id }), 'the stored token opens').toEqual({
      verifyAppConnection: { appConnection: { verification: { status: 'VERIFIED' } } },
    });
  });

  test('returns the current version for a stale version', async () => {
    const { rest } = await fresh();
    const { id } = await createConnectionOverRest(rest);
    await rest('PATCH', `${okta}/${id}`, { name: 'second' });
    const stale = [
      await rest('PATCH', `${okta}/${id}`, { version: 1, name: 'third' }),
      await rest('DELETE', `${okta}/${id}?version=1`),
    ];
    for (const { status, body } of stale) {
      expect([status, at(body, 'code'), at(body, 'currentVersion')]).toEqual([409, 'VERSION_CONFLICT', 2]);
    }
  });

  test('requires the token for a new host, and consent for another Okta organisation', async () => {
    const { rest } = await fresh();
    const { id } = await createConnectionOverRest(rest);
    await using elsewhere = await startOkta();
    trusted.add(elsewhere.hostPort);
    const host = { instanceUrl: elsewhere.origin };
    const missing = await rest('PATCH', `${okta}/${id}`, { credentials: host });
    expect(at(missing.body, 'issues', 0, 'path')).toEqual(['credentials', 'apiToken']);
    expect(at(missing.body, 'detail')).toMatch(/^credentials\.apiToken: /);
    elsewhere.behave((request, response) => {
      const id = request.url?.includes('well-known') ? '00other' : '00user';
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ id, status: 'ACTIVE', profile: { login: 'a@example.com' } }));
    });
    const credentials = { ...host, apiToken: 'another-good-token' };
    const refused = await rest('PATCH', `${okta}/${id}`, { credentials });
    expect(at(refused.body, 'issues', 0, 'path')).toEqual(['allowDifferentOktaOrg']);
    const moved = await rest('PATCH', `${okta}/${id}`, { credentials, allowDifferentOktaOrg: true });
    expect(at(moved.body, 'appConnection', 'credentials')).toEqual(host);
  });

  test('rejects unknown members, also within credentials', async () => {
    const { rest } = await fresh();
    const { id } = await createConnectionOverRest(rest);
    for (const body of [{ projectId: null }, { credentials: { apitoken: 'misspelt' } }]) {
      expect((await rest('PATCH', `${okta}/${id}`, body)).status).toBe(422);
    }
  });
});

describe('REST delete connection', () => {
  test('hides the connection, frees its name, and returns until when it can be restored', async () => {
    const { rest, client } = await fresh();
    const { id } = await createConnectionOverRest(rest);
    const { status, body } = await rest('DELETE', `${okta}/${id}?version=1`);
    const until = at(body, 'appConnection', 'restorableUntil');
    expect([status, body]).toEqual([200, { appConnection: { id, restorableUntil: until } }]);
    expect(Date.parse(String(until)) - Date.now()).toBeGreaterThan(29 * 86_400_000);
    expect((await rest('GET', `${okta}/${id}`)).status).toBe(404);
    await createConnectionOverRest(rest);
    const restore =
      'mutation ($id: UUID!) { restoreAppConnection(id: $id, name: "back") { appConnection { id } } }';
    expect(await client.request(restore, { id })).toMatchObject({ restoreAppConnection: {} });
  });

  test('removes the connection with purge, also a deleted one', async () => {
    const { rest } = await fresh();
    const { id } = await createConnectionOverRest(rest);
    await rest('DELETE', `${okta}/${id}?purge=false`);
    const { status, body } = await rest('DELETE', `${okta}/${id}?purge=true`);
    expect([status, body]).toEqual([200, { appConnection: { id, restorableUntil: null } }]);
    expect((await rest('DELETE', `${okta}/${id}?purge=true`)).status).toBe(404);
  });

  test('rejects a body and parameters that it does not use', async () => {
    const { rest } = await fresh();
    const { id } = await createConnectionOverRest(rest);
    for (const query of ['version=x', 'version=0', 'purge=yes', 'purge=', 'purged=true']) {
      expect((await rest('DELETE', `${okta}/${id}?${query}`)).status, query).toBe(422);
    }
    expect((await rest('DELETE', `${okta}/${id}`, { version: 7 })).status, 'a body').toBe(400);
    expect((await rest('GET', `${okta}/${id}`)).status).toBe(200);
  });
});
