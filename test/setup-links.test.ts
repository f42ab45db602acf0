import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { generateApiKey } from '../src/auth/api-keys.ts';
import { SetupLink } from '../src/connections/setup-link.entity.ts';
import { purgeSetupLinks } from '../src/connections/setup-links/purge.ts';
import { checkChain, createKey, revokeKey } from './testkit/access.ts';
import { type Behaviour, behavingAt, json, startOkta, type TestOkta, tokenRejected } from './testkit/okta.ts';
import { createConnection, deleteMutation, restoreMutation } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { startRateLimitedServer } from './testkit/rates.ts';
import { at, createCheckedClient, createContractChecker, restClient } from './testkit/rest.ts';
import { foundIn } from './testkit/secret-scan.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { createLink, createLinkMutation, followLink, listLinks, revokeLink } from './testkit/setup-links.ts';
import { changeRows } from './testkit/stored-rows.ts';
import { operations } from './testkit/tenant-operations.ts';

vi.setConfig({ testTimeout: 60_000 });

let server: TestServer;
let okta: TestOkta;
/** Secrets that must be nowhere. */
const planted: string[] = [];
beforeAll(async () => {
  okta = await startOkta();
  server = await startTestServer({
    config: { trustedInstanceHosts: new Set([okta.hostPort]), publicUrl: 'https://connections.example/base' },
  });
});
afterAll(async () => {
  await server.close();
  await okta.close();
});
afterEach(() => {
  okta.behave(handleFakeOkta);
});

const newToken = () => {
  const token = `00planted${randomUUID().replaceAll('-', '')}`;
  planted.push(token);
  return token;
};

/** Creates an organisation with a connection and a setup link of it. */
async function startSetup() {
  const organisation = await server.newOrganisation();
  const connection = await createConnection(
    organisation,
    { name: 'my-okta', projectId: organisation.projectId },
    { instanceUrl: okta.origin, apiToken: newToken() },
  );
  const link = await createLink(organisation.client, connection.id);
  planted.push(link.secret);
  return { organisation, connection, link, page: followLink(server.url, link.secret) };
}

/** Lets a setup link expire at a time. The clock stays: a server sets its own by the database's once a minute. */
const expireAt = (orgId: string, id: string, time: number) =>
  changeRows(server, SetupLink, { orgId, id }, () => ({ expiresAt: new Date(time) }));

/** Every event of an organisation in its order. */
async function listEvents({ client }: TestOrganisation): Promise<Record<string, unknown>[]> {
  const { auditEvents } = await client.request<{ auditEvents: { nodes: Record<string, unknown>[] } }>(
    `{ auditEvents(first: 100) { nodes {
      action outcome keyId subject setupLinkId connectionId connectionName changedFields address
    } } }`,
  );
  return auditEvents.nodes.reverse();
}

const readStatus = async (organisation: TestOrganisation, connectionId: string) => {
  const [link] = await listLinks(organisation.client, connectionId);
  return link?.status;
};

const versionQuery = 'query ($id: UUID!) { appConnection(id: $id) { version } }';

/** The token that the server last sent to Okta. */
const lastToken = () => okta.requests.at(-1)?.headers.authorization?.replace('SSWS ', '');

/** Okta answers only after `release`. */
function holdOkta() {
  const released = Promise.withResolvers<void>();
  const before = okta.requests.length;
  const behaviour: Behaviour = (request, response) =>
    void released.promise.then(() => handleFakeOkta(request, response));
  okta.behave(behaviour);
  const asked = (count: number) =>
    until('Okta was asked', () => (okta.requests.length >= before + count ? true : undefined));
  return { release: () => released.resolve(), asked };
}

describe('creating a setup link', () => {
  it('returns an address of PUBLIC_URL with the secret in its fragment, which expires after three days', async () => {
    const { link, connection } = await startSetup();
    expect(link.url).toMatch(/^https:\/\/connections\.example\/base\/setup#acs_[0-9A-Za-z]{49}$/);
    expect(link).toMatchObject({
      connectionId: connection.id,
      status: 'ACTIVE',
      openedAt: null,
      revokedAt: null,
    });
    expect(Date.parse(link.expiresAt) - Date.parse(link.createdAt)).toBe(3 * 86_400_000);
  });

  it('works over REST, with a lifetime', async () => {
    const { organisation, connection } = await startSetup();
    const rest = await createCheckedClient(server.url, organisation.apiKey);
    const path = `/api/v1/app-connections/okta/${connection.id}/setup-links`;
    const { body } = await rest('POST', path, { expiresIn: 300 });
    const link = Object(at(body, 'setupLink'));
    expect(Date.parse(link.expiresAt) - Date.parse(link.createdAt)).toBe(300_000);
    expect(at((await rest('GET', path)).body, 'setupLinks', 'length')).toBe(2);
    expect((await rest('POST', `${path}/${link.id}/revoke`)).body).toMatchObject({
      setupLink: { id: link.id, status: 'REVOKED' },
    });
    const another = await createConnection(organisation, { name: 'another' });
    const elsewhere = `/api/v1/app-connections/okta/${another.id}/setup-links/${link.id}/revoke`;
    expect((await rest('POST', elsewhere)).status).toBe(404);
  });

  it.each([299, 1_209_601])('refuses a lifetime of %i seconds', async (expiresIn) => {
    const { organisation, connection } = await startSetup();
    const variables = { connectionId: connection.id, expiresIn };
    const [error] = await errorsOf(organisation.client.request(createLinkMutation, variables));
    expect(error?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [{ path: ['expiresIn'], message: 'The lifetime is 300 to 1209600 seconds (14 days).' }],
    });
  });

  it('refuses a sixth active link of a connection, also of six at once', async () => {
    const { organisation, connection, link } = await startSetup();
    const attempts = Array.from({ length: 6 }, () => createLink(organisation.client, connection.id));
    const results = await Promise.allSettled(attempts);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(4);
    const variables = { connectionId: connection.id };
    const [error] = await errorsOf(organisation.client.request(createLinkMutation, variables));
    expect(error).toMatchObject({
      message: expect.stringContaining('Revoke one of them first.'),
      extensions: { code: 'BAD_USER_INPUT', issues: [{ path: ['connectionId'] }] },
    });
    await revokeLink(organisation.client, link.id);
    await createLink(organisation.client, connection.id);
  });

  it('is limited to the connections that the caller may see', async () => {
    const { organisation, connection, link } = await startSetup();
    const another = await createConnection(organisation, { name: 'another' });
    const client = server.clientFor(
      await organisation.newKey(['connections:write'], { connectionIds: [another.id] }),
    );
    for (const send of [
      () => createLink(client, connection.id),
      () => listLinks(client, connection.id),
      () => revokeLink(client, link.id),
    ]) {
      expect((await errorsOf(send()))[0]?.extensions.code).toBe('NOT_FOUND');
    }
    await createLink(client, another.id);
  });
});

describe('a setup link', () => {
  it('shows what the page needs, and who asks, and records that it was opened once', async () => {
    const { organisation, connection, link, page } = await startSetup();
    const document = await restClient(server.url, organisation.apiKey)('GET', '/api/v1/openapi.json');
    const contract = createContractChecker(Object(document.body));
    const opened = await page.open();
    contract.check('POST', '/api/v1/setup/open', opened);
    contract.check('POST', '/api/v1/setup/check', await page.check());
    contract.check('POST', '/api/v1/setup/credentials', await page.submit({}));
    const { status, body } = opened;
    expect(status).toBe(200);
    expect(body).toEqual({
      setup: {
        organisation: 'Test organisation',
        expiresAt: link.expiresAt,
        connection: { name: 'my-okta' },
        app: { id: 'okta', name: 'Okta', icon: expect.any(String) },
        method: {
          id: 'api-token',
          label: 'API token',
          description: expect.any(String),
          steps: expect.arrayContaining([expect.stringContaining('Create token')]),
        },
        values: [{ label: 'Instance URL', values: [okta.origin] }],
        jwksUrl: null,
        keys: [],
        fields: [expect.objectContaining({ name: 'apiToken', label: 'API token' })],
        verification: expect.objectContaining({ status: 'VERIFIED', code: null }),
      },
    });
    await page.open();
    const [listed] = await listLinks(organisation.client, connection.id);
    expect(listed).toMatchObject({ status: 'ACTIVE', openedAt: expect.any(String), finishedAt: null });
    const events = await listEvents(organisation);
    expect(events.filter(({ action }) => action === 'OPEN_SETUP_LINK')).toHaveLength(1);
  });

  it('replaces the token once Okta accepts it, and is then used up', async () => {
    const { organisation, connection, link, page } = await startSetup();
    const [rejected, accepted] = [newToken(), newToken()];
    okta.behave(tokenRejected);
    const refused = await page.submit({ apiToken: rejected });
    expect(refused.status).toBe(422);
    expect(refused.body).toMatchObject({ code: 'CREDENTIALS_REJECTED', remedy: expect.any(String) });
    okta.behave(handleFakeOkta);
    const result = await page.submit({ apiToken: ` ${accepted} ` });
    expect(result.body).toMatchObject({ isFinished: true, setup: { verification: { status: 'VERIFIED' } } });
    expect(lastToken()).toBe(accepted);
    for (const again of [page.open, page.check, () => page.submit({ apiToken: accepted })]) {
      expect((await again()).body).toMatchObject({
        status: 401,
        detail: 'This setup link was used already.',
        remedy: 'Ask the person who sent you the link for a new one.',
      });
    }
    await organisation.client.request(
      'mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { id } } }',
      {
        id: connection.id,
      },
    );
    expect(lastToken()).toBe(accepted);
    const actor = { keyId: null, subject: null, setupLinkId: link.id, connectionId: connection.id };
    const events = await listEvents(organisation);
    expect(events.slice(1, -2)).toMatchObject([
      { action: 'CREATE_SETUP_LINK', outcome: 'OK', keyId: expect.any(String), setupLinkId: link.id },
      { ...actor, action: 'UPDATE_CONNECTION', outcome: 'CREDENTIALS_REJECTED' },
      { ...actor, action: 'UPDATE_CONNECTION', outcome: 'OK', changedFields: ['credentials.apiToken'] },
      {
        ...actor,
        action: 'FINISH_SETUP_LINK',
        outcome: 'OK',
        connectionName: 'my-okta',
        address: '127.0.0.1',
      },
    ]);
    expect(events.slice(-2)).toMatchObject([
      { action: 'SIGN_IN', outcome: 'UNAUTHENTICATED', setupLinkId: link.id },
      { action: 'VERIFY_CONNECTION' },
    ]);
    expect(await checkChain(server, organisation.orgId)).toHaveProperty('events');
    expect(server.logs()).toContain(`"setupLinkId":"${link.id}"`);
  });

  it('is not used up by a check while it asks for a token', async () => {
    const { organisation, connection, page } = await startSetup();
    okta.behave(tokenRejected);
    expect((await page.check()).body).toMatchObject({
      isFinished: false,
      setup: {
        verification: { status: 'REJECTED', code: 'CREDENTIALS_REJECTED', remedy: expect.any(String) },
      },
    });
    okta.behave(handleFakeOkta);
    expect((await page.check()).body).toMatchObject({ isFinished: false });
    expect(await readStatus(organisation, connection.id)).toBe('ACTIVE');
  });

  it('shows the public keys of a service app, and is used up by a successful check', async () => {
    const organisation = await server.newOrganisation();
    const rest = restClient(server.url, organisation.apiKey);
    const created = await rest('POST', '/api/v1/app-connections/okta', {
      name: 'service-app',
      method: 'service-app',
      credentials: {
        instanceUrl: 'https://example.okta.com',
        clientId: '0oa1ab2cd3EF4GH5i0d7',
        scopes: ['okta.users.read', 'okta.groups.read'],
      },
    });
    const id = String(at(created.body, 'appConnection', 'id'));
    const link = await createLink(organisation.client, id);
    planted.push(link.secret);
    const page = followLink(server.url, link.secret);
    const opened = await page.open();
    expect(opened.body).toMatchObject({
      setup: {
        method: { id: 'service-app', steps: expect.arrayContaining([expect.stringContaining('Check now')]) },
        values: [
          { label: 'Instance URL', values: ['https://example.okta.com'] },
          { values: ['okta.groups.read', 'okta.users.read'] },
        ],
        jwksUrl: `https://connections.example/base/.well-known/app-connections/${id}/jwks.json`,
        keys: [{ keyId: expect.any(String), state: 'PENDING', publicJwk: expect.any(Object) }],
        fields: [{ name: 'clientId', secret: false, value: '0oa1ab2cd3EF4GH5i0d7' }],
        verification: { status: 'PENDING', checkedAt: null, remedy: expect.any(String) },
      },
    });
    expect(opened.text).not.toMatch(/"(d|p|q|dp|dq|qi)":/);
    const refused: [object, string[][]][] = [
      [{ privateKey: 'a-key' }, [['credentials']]],
      [{ apiToken: 'a-token' }, [['credentials', 'clientId'], ['credentials']]],
      [{}, [['credentials', 'clientId']]],
      [{ clientId: 'https://example.okta.com' }, [['credentials', 'clientId']]],
    ];
    for (const [credentials, paths] of refused) {
      const { body } = await page.submit(credentials);
      const issues = paths.map((path) => ({ path }));
      expect(body).toMatchObject({ code: 'BAD_USER_INPUT', issues });
    }
    expect((await page.check()).body).toMatchObject({
      isFinished: true,
      setup: { verification: { status: 'VERIFIED' }, keys: [{ state: 'ACTIVE' }], fields: [] },
    });
    expect((await page.check()).status).toBe(401);
    expect(await readStatus(organisation, id)).toBe('FINISHED');
  });

  it('says what to give instead of a missing or odd member, and stays active', async () => {
    const { organisation, connection, link } = await startSetup();
    const client = restClient(server.url, link.secret);
    const submit = '/api/v1/setup/credentials';
    const give = 'Give an object. Known members: clientId, apiToken.';
    const cases: [string, unknown, object][] = [
      [submit, {}, { path: ['credentials'], message: give }],
      [submit, { credentials: null }, { path: ['credentials'], message: give }],
      [submit, { credentials: ['x'] }, { path: ['credentials'], message: give }],
      [
        submit,
        { credentials: { apiToken: 1 } },
        { path: ['credentials', 'apiToken'], message: 'Give a string.' },
      ],
      [
        submit,
        { credentials: { apiToken: 'x' }, more: 1 },
        { path: [], message: 'There is an unknown member. Known members: credentials.' },
      ],
      [submit, { credentials: {} }, { message: expect.stringMatching(/^Give the API token\./) }],
    ];
    for (const [path, body, issue] of cases)
      expect((await client('POST', path, body)).body).toMatchObject({
        code: 'BAD_USER_INPUT',
        issues: [issue],
      });
    expect(await readStatus(organisation, connection.id)).toBe('ACTIVE');
    const rest = restClient(server.url, organisation.apiKey);
    const links = `/api/v1/app-connections/okta/${connection.id}/setup-links`;
    const { body } = await rest('POST', links, { expiresIn: 1e30 });
    expect(at(body, 'detail')).toBe('expiresIn: The lifetime is 300 to 1209600 seconds (14 days).');
  });

  /** A service app of which nobody here knows the client id. */
  async function startWithoutClientId() {
    const organisation = await server.newOrganisation();
    const rest = restClient(server.url, organisation.apiKey);
    const credentials = { instanceUrl: 'https://example.okta.com', scopes: ['okta.users.read'] };
    const { body } = await rest('POST', '/api/v1/app-connections/okta', {
      name: 'unknown-client',
      method: 'service-app',
      credentials,
    });
    return { organisation, rest, connection: Object(at(body, 'appConnection')) };
  }

  it('asks for the client id of a service app that was created without one, until Okta accepts it', async () => {
    const { organisation, rest, connection } = await startWithoutClientId();
    expect(connection.isPlatformManagedCredentials).toBe(true);
    const path = `/api/v1/app-connections/okta/${connection.id}`;
    expect((await rest('GET', `${path}/verification`)).body).toMatchObject({
      verification: { status: 'PENDING', message: expect.stringContaining('no value for “Client ID”') },
    });
    for (const [method, target] of [
      ['POST', `${path}/verify`],
      ['GET', `${path}/proxy/api/v1/users`],
    ] as const) {
      const { status, body } = await rest(method, target);
      expect(status).toBe(409);
      expect(body).toMatchObject({
        code: 'CONNECTION_PENDING',
        detail: expect.stringContaining('“Client ID”'),
        remedy: expect.stringContaining('setup link'),
      });
    }
    const link = await createLink(organisation.client, connection.id);
    planted.push(link.secret);
    const page = followLink(server.url, link.secret);
    const asked = (value: string | null) => [expect.objectContaining({ name: 'clientId', value })];
    expect((await page.open()).body).toMatchObject({
      setup: { fields: asked(null), verification: { status: 'PENDING', remedy: null } },
    });
    expect((await page.check()).body).toMatchObject({ isFinished: false, setup: { fields: asked(null) } });
    // The fake Okta knows no client whose id begins like this.
    const unknown = '0oaunknown1234567890';
    expect((await page.submit({ clientId: unknown })).body).toMatchObject({
      isFinished: false,
      setup: {
        fields: asked(unknown),
        verification: {
          status: 'REJECTED',
          message: expect.stringContaining('knows no app with this client id'),
        },
      },
    });
    const clientId = '0oa1ab2cd3EF4GH5i0d7';
    expect((await page.submit({ clientId })).body).toMatchObject({
      isFinished: true,
      setup: { fields: [], verification: { status: 'VERIFIED' } },
    });
    expect(await readStatus(organisation, connection.id)).toBe('FINISHED');
    expect((await rest('GET', path)).body).toMatchObject({ appConnection: { credentials: { clientId } } });
    const events = (await listEvents(organisation)).filter(({ action }) => action === 'UPDATE_CONNECTION');
    const update = { setupLinkId: link.id, keyId: null, changedFields: ['credentials.clientId'] };
    expect(events).toMatchObject([
      { ...update, outcome: 'OK' },
      { ...update, outcome: 'OK' },
    ]);
  });

  it('asks for the client id of a conversion that was started without one', async () => {
    const organisation = await server.newOrganisation();
    const { id } = await createConnection(organisation, { name: 'converted' }, { apiToken: newToken() });
    const rest = restClient(server.url, organisation.apiKey);
    const path = `/api/v1/app-connections/okta/${id}`;
    await rest('POST', `${path}/convert`, { to: { scopes: ['okta.users.read'] } });
    expect((await rest('POST', `${path}/verify`)).body).toMatchObject({
      verification: { status: 'VERIFIED' },
    });
    expect((await rest('GET', path)).body).toMatchObject({
      appConnection: {
        method: 'api-token',
        conversion: {
          verification: { status: 'PENDING', message: expect.stringContaining('“Client ID”') },
        },
      },
    });
    const link = await createLink(organisation.client, id);
    planted.push(link.secret);
    const clientId = '0oa1ab2cd3EF4GH5i0d7';
    expect((await followLink(server.url, link.secret).submit({ clientId })).body).toMatchObject({
      isFinished: true,
      setup: { method: { id: 'service-app' }, verification: { status: 'VERIFIED' } },
    });
    expect((await rest('GET', path)).body).toMatchObject({
      appConnection: { method: 'service-app', credentials: { clientId, scopes: ['okta.users.read'] } },
    });
  });

  it('takes only the secrets of the method', async () => {
    const { page } = await startSetup();
    const before = okta.requests.length;
    const bodies: [object, string[]][] = [
      [{}, ['credentials', 'apiToken']],
      [{ apiToken: '' }, ['credentials', 'apiToken']],
      [{ apiToken: 'one', instanceUrl: 'https://example.okta.com' }, ['credentials']],
      [{ apiToken: 12 }, ['credentials', 'apiToken']],
    ];
    for (const [credentials, path] of bodies) {
      const { status, body } = await page.submit(credentials);
      expect(status).toBe(422);
      expect(at(body, 'issues', 0, 'path')).toEqual(path);
    }
    expect(okta.requests.length).toBe(before);
  });

  it('expires', async () => {
    const { organisation, connection, link, page } = await startSetup();
    await expireAt(organisation.orgId, link.id, Date.now() + 60_000);
    expect((await page.open()).status).toBe(200);
    await expireAt(organisation.orgId, link.id, Date.now() - 1);
    expect((await page.open()).body).toMatchObject({
      code: 'UNAUTHENTICATED',
      detail: 'This setup link has expired.',
    });
    expect(await readStatus(organisation, connection.id)).toBe('EXPIRED');
    await createLink(organisation.client, connection.id);
  });

  describe('that an API key created', () => {
    /** A setup link that another key than the administrator's created. */
    async function startWithKey(expiresAt?: Date) {
      const { organisation, connection } = await startSetup();
      const { apiKey, key } = await createKey(organisation.client, { expiresAt });
      const link = await createLink(server.clientFor(key), connection.id);
      planted.push(link.secret);
      const page = followLink(server.url, link.secret);
      const revoke = () => revokeKey(organisation.client, apiKey.id);
      return { organisation, connection, link, page, keyId: apiKey.id, revoke };
    }

    it('is revoked with the key, and makes room for another', async () => {
      const { organisation, connection, link, page, keyId, revoke } = await startWithKey();
      for (let links = 2; links < 5; links += 1) await createLink(organisation.client, connection.id);
      expect((await page.open()).status).toBe(200);
      await revoke();
      for (const send of [page.open, page.check, () => page.submit({ apiToken: newToken() })]) {
        expect((await send()).body).toMatchObject({ status: 401, detail: 'This setup link was revoked.' });
      }
      const listed = (await listLinks(organisation.client, connection.id)).find(({ id }) => id === link.id);
      expect(listed).toMatchObject({ status: 'REVOKED', revokedAt: expect.any(String) });
      expect(await revokeLink(organisation.client, link.id)).toEqual(listed);
      await createLink(organisation.client, connection.id);
      // Someone who may only write to the database takes the revocation of the key back.
      await server.asOwner().execute('update api_key set revoked_at = null where id = ?', [keyId]);
      expect((await page.open()).status).toBe(401);
      expect(await checkChain(server, organisation.orgId)).toHaveProperty('events');
    });

    it('changes nothing if the key is revoked while its token is being verified', async () => {
      const { organisation, connection, page, revoke } = await startWithKey();
      const hold = holdOkta();
      const submitted = page.submit({ apiToken: newToken() });
      await hold.asked(1);
      await revoke();
      hold.release();
      expect((await submitted).status).toBe(401);
      expect(await organisation.client.request(versionQuery, { id: connection.id })).toEqual({
        appConnection: { version: 1 },
      });
    });

    it('expires with the key', async () => {
      const expiresAt = new Date(Date.now() + 3_600_000);
      const { link, page } = await startWithKey(expiresAt);
      expect(link.expiresAt).toBe(expiresAt.toISOString());
      expect((await page.open()).body).toMatchObject({ setup: { expiresAt: link.expiresAt } });
    });
  });

  it('is refused once it is revoked, and nothing changes if it is revoked again', async () => {
    const { organisation, link, page } = await startSetup();
    const revoked = await revokeLink(organisation.client, link.id);
    expect(revoked).toMatchObject({ status: 'REVOKED', revokedAt: expect.any(String) });
    expect((await page.open()).body).toMatchObject({ detail: 'This setup link was revoked.' });
    expect(await revokeLink(organisation.client, link.id)).toEqual(revoked);
    const events = await listEvents(organisation);
    expect(events.filter(({ action }) => action === 'REVOKE_SETUP_LINK')).toHaveLength(1);
  });

  it('is deleted with its connection, and does not work after a restoration', async () => {
    const { organisation, connection, page } = await startSetup();
    const { id } = connection;
    await organisation.client.request(deleteMutation, { id });
    const gone = { detail: 'There is no such setup link. It may have been deleted.' };
    expect((await page.open()).body).toMatchObject(gone);
    await organisation.client.request(restoreMutation, { id });
    expect((await page.open()).body).toMatchObject(gone);
    const again = await createLink(organisation.client, id);
    await organisation.client.request(deleteMutation, { id, purge: true });
    expect((await followLink(server.url, again.secret).open()).body).toMatchObject(gone);
  });

  it('is refused if its row was changed outside of the server', async () => {
    const { connection, page } = await startSetup();
    await server
      .asOwner()
      .execute(
        `update connection_setup_link set expires_at = expires_at + interval '1 day' where connection_id = ?`,
        [connection.id],
      );
    expect((await page.open()).status).toBe(401);
  });

  it('is deleted a month after it expired', async () => {
    const { organisation, connection } = await startSetup();
    const expire = (daysAgo: number) =>
      changeRows(server, SetupLink, { connectionId: connection.id }, () => ({
        expiresAt: new Date(Date.now() - daysAgo * 86_400_000),
      }));
    await expire(29);
    await purgeSetupLinks(server);
    expect(await readStatus(organisation, connection.id)).toBe('EXPIRED');
    await expire(31);
    await purgeSetupLinks(server);
    expect(await server.asOwner().count(SetupLink, { connectionId: connection.id })).toBe(0);
    expect(await listLinks(organisation.client, connection.id)).toEqual([]);
  });
});

describe('the secret of a setup link', () => {
  it.each([
    ['truncated', (secret: string) => secret.slice(0, -1), /incomplete or mistyped/],
    [
      'mistyped',
      (secret: string) => secret.replace(/.$/, (last) => (last === 'a' ? 'b' : 'a')),
      /incomplete or mistyped/,
    ],
    ['an API key', () => generateApiKey().reveal(), /incomplete or mistyped/],
  ])('is refused with the reason if it is %s', async (_, change, message) => {
    const { link } = await startSetup();
    const { status, body } = await followLink(server.url, change(link.secret)).open();
    expect(status).toBe(401);
    expect(at(body, 'detail')).toMatch(message);
  });

  it('is required', async () => {
    const { status, headers, body } = await restClient(server.url)('POST', '/api/v1/setup/open');
    expect(status).toBe(401);
    expect(headers.get('www-authenticate')).toBe('Bearer');
    expect(at(body, 'detail')).toBe('The request has no setup link.');
  });

  it.each(Object.entries(operations))('cannot do %s', async (_, { ask }) => {
    const { organisation, connection, link } = await onceStarted();
    const target = {
      projectId: organisation.projectId,
      connectionId: connection.id,
      connectionName: 'my-okta',
      host: 'https://example.okta.com',
      deletedId: randomUUID(),
      apiKeyId: randomUUID(),
      setupLinkId: link.id,
      serviceAppId: connection.id,
      webhookEndpointId: randomUUID(),
      webhookMessageId: randomUUID(),
    };
    const { code, text } = await ask({ url: server.url, apiKey: link.secret, changes: 1 }, target);
    expect(code).toBe('UNAUTHENTICATED');
    expect(text).not.toContain(organisation.orgId);
  });

  let started: ReturnType<typeof startSetup> | undefined;
  const onceStarted = () => {
    started ??= startSetup();
    return started;
  };

  it('cannot be guessed fast', async () => {
    const limited = await startRateLimitedServer(
      { failedAuthentication: { points: 3, leaseSize: 1 } },
      { beside: server, database: server.database },
    );
    try {
      const { link } = await startSetup();
      const guess = async (secret: string) => (await followLink(limited.url, secret).open()).status;
      const unknown = (last: string) => link.secret.slice(0, -1) + last;
      const statuses = [];
      for (const last of ['-', '_', '.', '~', '!']) statuses.push(await guess(unknown(last)));
      expect(statuses).toEqual([401, 401, 401, 429, 429]);
    } finally {
      await limited.close();
    }
  });
});

describe('two people with the same setup link', () => {
  it('finish it once: the second one is told that it was used', async () => {
    const { organisation, connection, page } = await startSetup();
    const tokens = [newToken(), newToken()];
    const hold = holdOkta();
    const both = tokens.map((apiToken) => page.submit({ apiToken }));
    await hold.asked(2);
    hold.release();
    const results = await Promise.all(both);
    expect(results.map(({ status }) => status).sort()).toEqual([200, 401]);
    const events = await listEvents(organisation);
    expect(events.filter(({ action }) => action === 'FINISH_SETUP_LINK')).toHaveLength(1);
    expect(
      events.filter(({ action, outcome }) => action === 'UPDATE_CONNECTION' && outcome === 'OK'),
    ).toHaveLength(1);
    const winner = tokens[results.findIndex(({ status }) => status === 200)];
    await organisation.client.request(
      'mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { id } } }',
      {
        id: connection.id,
      },
    );
    expect(lastToken()).toBe(winner);
  });

  it('open it at once, and it is recorded once', async () => {
    const { organisation, page } = await startSetup();
    const opened = await Promise.all(Array.from({ length: 5 }, () => page.open()));
    expect(opened.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    const events = await listEvents(organisation);
    expect(events.filter(({ action }) => action === 'OPEN_SETUP_LINK')).toHaveLength(1);
  });
});

describe('a setup link whose token is being verified', () => {
  const readHash = (id: string, { client }: TestOrganisation) =>
    client.request('query ($id: UUID!) { appConnection(id: $id) { version credentialsHash } }', { id });

  it.each<[string, (setup: Awaited<ReturnType<typeof startSetup>>) => Promise<unknown>, number]>([
    ['revoked', ({ organisation, link }) => revokeLink(organisation.client, link.id), 401],
    ['expired', ({ organisation, link }) => expireAt(organisation.orgId, link.id, Date.now() - 1), 401],
    [
      'deleted with its connection',
      ({ organisation, connection }) => organisation.client.request(deleteMutation, { id: connection.id }),
      404,
    ],
  ])('changes nothing if it is %s meanwhile', async (_, end, status) => {
    const setup = await startSetup();
    const { organisation, connection } = setup;
    const before = await readHash(connection.id, organisation);
    const hold = holdOkta();
    const submitted = setup.page.submit({ apiToken: newToken() });
    await hold.asked(1);
    await end(setup);
    hold.release();
    expect((await submitted).status).toBe(status);
    if (status !== 404) expect(await readHash(connection.id, organisation)).toEqual(before);
    const events = await listEvents(organisation);
    expect(events.some(({ action }) => action === 'FINISH_SETUP_LINK')).toBe(false);
  });

  it('changes nothing if the connection is converted to another method meanwhile', async () => {
    const { organisation, connection, page } = await startSetup();
    const hold = holdOkta();
    const submitted = page.submit({ apiToken: newToken() });
    await hold.asked(1);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    okta.behave(
      behavingAt({
        '/oauth2/v1/token': json({
          access_token: 'an-access-token',
          token_type: 'Bearer',
          expires_in: 3_600,
        }),
        '/api/v1/users?limit=1': json([{}]),
      }),
    );
    const path = `/api/v1/app-connections/okta/${connection.id}`;
    const rest = restClient(server.url, organisation.apiKey);
    const converted = await rest('POST', `${path}/convert`, {
      to: {
        clientId: '0oa1ab2cd3EF4GH5i0d7',
        scopes: ['okta.users.read'],
        privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }),
      },
    });
    expect(converted.status).toBe(200);
    hold.release();
    expect((await submitted).status).toBe(422);
    expect((await rest('POST', `${path}/verify`)).status).toBe(200);
    expect(at((await rest('GET', path)).body, 'appConnection', 'method')).toBe('service-app');
    expect(await readStatus(organisation, connection.id)).toBe('ACTIVE');
  });

  it('stays active if the client disconnects', async () => {
    const { organisation, connection, link } = await startSetup();
    const before = await readHash(connection.id, organisation);
    const hold = holdOkta();
    const leaving = new AbortController();
    const submitted = followLink(server.url, link.secret, leaving.signal).submit({ apiToken: newToken() });
    await hold.asked(1);
    leaving.abort();
    await expect(submitted).rejects.toThrow();
    await until('the disconnect is recorded', async () =>
      (await listEvents(organisation)).find(({ outcome }) => outcome === 'UPSTREAM_UNREACHABLE'),
    );
    hold.release();
    expect(await readHash(connection.id, organisation)).toEqual(before);
    expect(await readStatus(organisation, connection.id)).toBe('ACTIVE');
  });

  it('stays active if the server stops meanwhile, and works on another one', async () => {
    const { organisation, connection, link, page } = await startSetup();
    const before = await readHash(connection.id, organisation);
    const stopping = await startTestServer({
      ...{ beside: server, database: server.database },
      config: { trustedInstanceHosts: new Set([okta.hostPort]) },
    });
    const hold = holdOkta();
    const submitted = followLink(stopping.url, link.secret).submit({ apiToken: newToken() });
    await hold.asked(1);
    await stopping.close();
    expect((await submitted).status).toBe(503);
    hold.release();
    okta.behave(handleFakeOkta);
    expect(await readHash(connection.id, organisation)).toEqual(before);
    expect((await page.submit({ apiToken: newToken() })).body).toMatchObject({ isFinished: true });
  });
});

it('no secret of a setup link and no token given through one is in a log line or in a row', async () => {
  expect(planted.length).toBeGreaterThan(20);
  expect(foundIn(server.logs(), planted)).toEqual([]);
  expect(foundIn(await server.dump(), planted)).toEqual([]);
});
