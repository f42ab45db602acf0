import { generateKeyPairSync } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { AppConnection } from '../src/connections/app-connection.entity.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { decryptSecrets } from './testkit/decrypt-credentials.ts';
import { moveClock, restoreClock } from './testkit/move-clock.ts';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { createConnection } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { at, restClient } from './testkit/rest.ts';
import {
  keyIds,
  keyStates,
  publicJwks,
  RotatingApp,
  registeringScopes,
  rotatingScopes,
  signingKeys,
} from './testkit/rotating-connection.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import {
  createEndpoint,
  listMessages,
  startReceiver,
  type WebhookReceiver,
} from './testkit/webhook-receiver.ts';

const stack = new AsyncDisposableStack();
let standIn: OktaStandIn;
let receiver: WebhookReceiver;
let server: TestServer;
/** The embedded database has one server. */
let second: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  standIn = stack.use(await startOktaStandIn());
  receiver = stack.use(await startReceiver());
  const config = { trustedInstanceHosts: new Set([standIn.hostPort, receiver.hostPort]) };
  server = await startTestServer({ config, webhookIntervalMs: 50 });
  stack.defer(() => server.close());
  second = server;
  if (!testDatabaseUrl) return;
  second = await startTestServer({ config, beside: server });
  stack.defer(() => second.close());
});
afterAll(() => stack.disposeAsync());
beforeEach(async () => {
  organisation = await server.newOrganisation();
});

afterEach(async () => {
  restoreClock();
  await standIn.setClockAhead(0);
  await standIn.setNonceRequired(false);
});

const hourMs = 3_600_000;
/** Sets the clocks of the servers and of Okta. */
function setClocksAhead(ms: number): Promise<void> {
  moveClock(ms);
  return standIn.setClockAhead(ms);
}

const tokenPath = '/oauth2/v1/token';
const rotateQuery = 'mutation ($id: UUID!) { rotateOktaConnectionKey(id: $id) { appConnection { id } } }';
async function listEvents(id: string): Promise<(string | null)[][]> {
  const { auditEvents } = await organisation.client.request<{
    auditEvents: { nodes: { action: string; outcome: string; targetName: string | null }[] };
  }>(
    `query ($id: UUID!) {
      auditEvents(filter: { connectionId: $id }) { nodes { action outcome targetName } }
    }`,
    { id },
  );
  return auditEvents.nodes
    .filter(({ action }) => action.endsWith('_KEY'))
    .map(({ action, outcome, targetName }) => [action, outcome, targetName])
    .reverse();
}

describe('rotating the key of a service app that fetches keys', () => {
  test('uses the new key at once if Okta fetches it, keeps the old one published, and records both steps', async () => {
    const app = await RotatingApp.create(standIn, organisation, { byUrl: true });
    const before = await app.read();
    const rotated = await app.rotate();
    expect(keyStates(rotated)).toEqual(['RETIRED', 'ACTIVE']);
    expect(rotated).toMatchObject({ version: before.version + 2, verification: { status: 'VERIFIED' } });
    expect(rotated.credentialsHash).not.toBe(before.credentialsHash);
    const [oldId = '', newId = ''] = keyIds(rotated);
    expect(keyIds(before)).toEqual([oldId]);
    expect(await app.published()).toEqual([oldId, newId]);
    expect(await app.use()).toEqual({ status: 200, keyIds: [newId] });
    expect(await listEvents(app.id)).toEqual([
      ['ROTATE_CONNECTION_KEY', 'OK', newId],
      ['ACTIVATE_CONNECTION_KEY', 'OK', newId],
    ]);
  });

  test('uses the old key until Okta fetches the new one, which is found out by a verification', async () => {
    const app = await RotatingApp.create(standIn, organisation, { byUrl: true });
    await app.configure({ jwksUrl: app.jwksUrl, jwksCacheSeconds: 3_600 });
    await app.verify();
    const before = await app.read();
    const rotated = await app.rotate();
    expect(keyStates(rotated)).toEqual(['ACTIVE', 'PENDING']);
    expect(rotated).toMatchObject({
      credentialsHash: before.credentialsHash,
      verification: { status: 'VERIFIED' },
    });
    const [oldId = '', newId = ''] = keyIds(rotated);
    expect(await app.published()).toEqual([oldId, newId]);
    expect(await app.use()).toEqual({ status: 200, keyIds: [oldId] });
    expect(keyStates(await app.verify())).toEqual(['ACTIVE', 'PENDING']);
    // Okta's cache ends.
    await app.configure({ jwksUrl: app.jwksUrl, jwksCacheSeconds: 3_600 });
    const verified = await app.verify();
    expect(keyStates(verified)).toEqual(['RETIRED', 'ACTIVE']);
    expect(verified.verification.status).toBe('VERIFIED');
    expect(await app.use()).toEqual({ status: 200, keyIds: [newId] });
  });

  test('makes one new key if two servers are asked at once, and again while it is pending', async () => {
    const app = await RotatingApp.create(standIn, organisation);
    const all = await Promise.all([server, second, server, second].map((each) => app.rotate(each)));
    const rotated = await app.rotate(second);
    expect(keyStates(rotated)).toEqual(['ACTIVE', 'PENDING']);
    for (const each of all) expect(keyIds(each)).toEqual(keyIds(rotated));
    await app.configure({ keys: publicJwks(rotated) });
    await Promise.all([server, second, server, second].map((each) => app.verify(each)));
    expect(keyStates(await app.read())).toEqual(['RETIRED', 'ACTIVE']);
    const actions = (await listEvents(app.id)).map(([action]) => action);
    expect(actions).toEqual(['ROTATE_CONNECTION_KEY', 'ACTIVATE_CONNECTION_KEY']);
    expect(await app.use()).toMatchObject({ status: 200 });
  });
});

describe('a key that another one has replaced', () => {
  test('leaves the published set, the connection and the database after a day', async () => {
    const app = await RotatingApp.create(standIn, organisation, { byUrl: true });
    const [oldId = '', newId = ''] = keyIds(await app.rotate());
    await setClocksAhead(24 * hourMs - 60_000);
    expect(await app.published()).toEqual([oldId, newId]);
    expect(keyIds(await app.read())).toEqual([oldId, newId]);
    await setClocksAhead(24 * hourMs + 60_000);
    expect(await app.published()).toEqual([newId]);
    expect(keyIds(await app.read())).toEqual([newId]);
    const response = await fetch(`${server.url}/api/v1/app-connections/okta/${app.id}`, {
      headers: { authorization: `Bearer ${organisation.apiKey}` },
    });
    const { appConnection } = (await response.json()) as { appConnection: { credentials: object } };
    expect(appConnection.credentials).toMatchObject({ keys: [{ keyId: newId, state: 'ACTIVE' }] });
    expect(await app.use()).toEqual({ status: 200, keyIds: [newId] });
    const rotated = await app.rotate();
    expect(keyStates(rotated)).toEqual(['RETIRED', 'ACTIVE']);
    const [row] = await server
      .asOwner()
      .execute<[{ keys: { keyId: string }[] }]>('select keys from app_connection where id = ?', [app.id]);
    expect(row.keys.map(({ keyId }) => keyId)).toEqual(keyIds(rotated));
  });

  test('leaves sooner if ten others have followed it, so that the number of keys is bounded', async () => {
    const app = await RotatingApp.create(standIn, organisation, { byUrl: true });
    const made = keyIds(await app.read());
    for (let count = 0; count < 12; count += 1) made.push(keyIds(await app.rotate()).at(-1) ?? '');
    expect(await app.published()).toEqual(made.slice(-11));
    expect(keyIds(await app.read())).toEqual(made.slice(-11));
  });
});

describe('rotating the key of a service app whose keys are kept in Okta', () => {
  test('shows the new key as PENDING until it is added to the app, and uses the old one meanwhile', async () => {
    const app = await RotatingApp.create(standIn, organisation);
    const rotated = await app.rotate();
    expect(keyStates(rotated)).toEqual(['ACTIVE', 'PENDING']);
    const [oldId = '', newId = ''] = keyIds(rotated);
    expect(publicJwks(rotated)[1]).toMatchObject({ kid: newId, kty: 'EC', crv: 'P-256' });
    expect(await app.use()).toEqual({ status: 200, keyIds: [oldId] });
    await app.configure({ keys: publicJwks(rotated) });
    expect(keyStates(await app.verify())).toEqual(['RETIRED', 'ACTIVE']);
    expect(await app.use()).toEqual({ status: 200, keyIds: [newId] });
    // The administrator removes the old key.
    await app.configure({ keys: publicJwks(rotated).slice(1) });
    expect((await app.verify()).verification.status).toBe('VERIFIED');
  });

  test('sends connection.recovered when a new key replaces one that Okta no longer has', async () => {
    const app = await RotatingApp.create(standIn, organisation);
    const { id } = await createEndpoint(organisation.client, { url: receiver.url });
    const keys = publicJwks(await app.rotate());
    await app.configure({ keys: [] });
    expect((await app.verify()).verification.status).toBe('REJECTED');
    await app.configure({ keys });
    expect((await app.verify()).verification.status).toBe('VERIFIED');
    const types = await until('all events are among the messages', async () => {
      const found = (await listMessages(organisation.client, id)).map(({ type }) => type);
      return found.at(-1) === 'CONNECTION_VERIFIED' ? found : undefined;
    });
    expect(types.filter((type) => type !== 'CONNECTION_KEY_ROTATION_STARTED').sort()).toEqual([
      'CONNECTION_FAILING',
      'CONNECTION_KEY_ROTATED',
      'CONNECTION_RECOVERED',
      'CONNECTION_VERIFIED',
    ]);
  });

  test('finds out by a use that the administrator has replaced the old key with the new one', async () => {
    const app = await RotatingApp.create(standIn, organisation);
    const rotated = await app.rotate();
    await app.configure({ keys: publicJwks(rotated).slice(1) });
    await errorsOf(app.use());
    await expect.poll(async () => keyStates(await app.read())).toEqual(['RETIRED', 'ACTIVE']);
    expect((await app.read()).verification.status).toBe('VERIFIED');
    expect(await app.use()).toMatchObject({ status: 200 });
  });

  test.each([
    ['does not answer properly', { status: 503 }],
    ['limits the rate', { status: 429, headers: ['x-rate-limit-limit', '1'] }],
  ])('keeps the new key for the next attempt if Okta %s', async (_, answer) => {
    const app = await RotatingApp.create(standIn, organisation, { byUrl: true });
    await standIn.answerNext(tokenPath, answer as { status: number });
    const rotated = await app.rotate();
    expect(keyStates(rotated)).toEqual(['ACTIVE', 'PENDING']);
    expect(rotated.verification.status).toBe('VERIFIED');
    const again = await app.rotate();
    expect(keyIds(again)).toEqual(keyIds(rotated));
    expect(keyStates(again)).toEqual(['RETIRED', 'ACTIVE']);
  });

  test('survives an update of the connection', async () => {
    const app = await RotatingApp.create(standIn, organisation);
    const rotated = await app.rotate();
    await app.configure({ keys: publicJwks(rotated).slice(0, 1), scopes: ['okta.groups.read'] });
    await organisation.client.request(
      `mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
        updateOktaConnection(id: $id, input: $input) { appConnection { id } }
      }`,
      { id: app.id, input: { name: `renamed-${app.id}`, credentials: { scopes: ['okta.groups.read'] } } },
    );
    expect(keyStates(await app.read())).toEqual(['ACTIVE', 'PENDING']);
    await app.configure({ keys: publicJwks(rotated), scopes: ['okta.groups.read'] });
    expect(keyStates(await app.verify())).toEqual(['RETIRED', 'ACTIVE']);
  });
});

describe('rotating the key of a service app that may change its keys', () => {
  /** The requests that have changed keys in Okta, since the journal was last taken. */
  const takeKeyWrites = async () =>
    (await standIn.takeJournal()).filter(
      ({ method, url }) => method !== 'GET' && url.includes('/credentials/jwks'),
    );

  test('adds the new key to the app in Okta, and uses it at once', async () => {
    await standIn.setNonceRequired(true);
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    await standIn.takeJournal();
    const rotated = await app.rotate();
    expect(keyStates(rotated)).toEqual(['RETIRED', 'ACTIVE']);
    const [oldId = '', newId = ''] = keyIds(rotated);
    const added = (await takeKeyWrites()).filter(({ status }) => status < 400);
    expect(added).toMatchObject([{ method: 'POST', status: 201 }]);
    const [, jwk] = publicJwks(rotated);
    expect(JSON.parse(Buffer.from(added[0]?.body ?? '', 'base64').toString())).toEqual({
      ...jwk,
      status: 'ACTIVE',
    });
    expect(await app.use()).toEqual({ status: 200, keyIds: [newId] });
    expect(await app.keysInOkta()).toEqual([`ACTIVE ${oldId}`, `ACTIVE ${newId}`]);
  });

  test('asks for no other token with the old key, and for one with the new key', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    await standIn.takeJournal();
    const [, newId = ''] = keyIds(await app.rotate());
    const users = `/api/v1/app-connections/okta/${app.id}/proxy/api/v1/users`;
    expect((await restClient(server.url, organisation.apiKey)('GET', users)).status).toBe(200);
    const journal = await standIn.takeJournal();
    const minted = journal.filter(({ url, status }) => url === tokenPath && status === 200);
    expect(signingKeys(minted)).toEqual([newId]);
  });

  test('adds one key if two servers are asked at once', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    await Promise.all([server, second, server, second].map((each) => app.rotate(each)));
    const keys = keyIds(await app.read());
    expect(await app.keysInOkta()).toEqual(keys.map((keyId) => `ACTIVE ${keyId}`));
  });

  test('knows every old key until it was removed in Okta, also after a day and after many rotations', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    await app.rotate();
    await setClocksAhead(25 * hourMs);
    for (let count = 0; count < 11; count += 1) await app.rotate();
    const [row] = await server
      .asOwner()
      .execute<[{ keys: { keyId: string }[] }]>('select keys from app_connection where id = ?', [app.id]);
    expect(await app.keysInOkta()).toEqual(row.keys.map(({ keyId }) => `ACTIVE ${keyId}`));
    expect(row.keys).toHaveLength(13);
  });

  test('adds nothing if Okta fetches the keys', async () => {
    const scopes = registeringScopes;
    const app = await RotatingApp.create(standIn, organisation, { byUrl: true, scopes });
    await standIn.takeJournal();
    expect(keyStates(await app.rotate())).toEqual(['RETIRED', 'ACTIVE']);
    expect(await takeKeyWrites()).toEqual([]);
  });

  test.each([
    [403, 'E0000006', 'INSUFFICIENT_PERMISSIONS', /no admin role/, /Super Administrator/],
    [404, 'E0000007', 'NOT_FOUND', /no app with the ID 0oarotates/, /Okta makes both IDs equal/],
    [
      200,
      undefined,
      'UPSTREAM_INVALID_RESPONSE',
      /status 200\. The response is not/,
      /whether a proxy between/,
    ],
    [
      302,
      undefined,
      'UPSTREAM_INVALID_RESPONSE',
      /status 302\. The response is not/,
      /whether a proxy between/,
    ],
  ] as const)(
    'shows the new key as PENDING with the reason if Okta answers %i, and adds it next time',
    async (status, errorCode, code, message, remedy) => {
      const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
      const path = `/api/v1/apps/${app.clientId}/credentials/jwks`;
      const refusal = { status, content: { errorCode, errorSummary: 'No.' } };
      await standIn.answerNext(path, refusal);
      const rotated = await app.rotate();
      const [, newId = ''] = keyIds(rotated);
      expect(keyStates(rotated)).toEqual(['ACTIVE', 'PENDING']);
      const failure = {
        code,
        message: expect.stringMatching(message),
        remedy: expect.stringMatching(remedy),
      };
      expect(rotated.credentials.keyRegistrationFailure).toEqual(failure);
      expect(rotated.credentials.keyRegistrationFailure?.message).toContain(`add its new key ${newId}`);
      expect(await app.use()).toMatchObject({ status: 200 });
      await standIn.answerNext(path, refusal);
      expect((await app.rotate()).credentials.keyRegistrationFailure).toEqual(failure);
      const rest = restClient(server.url, organisation.apiKey);
      const { body } = await rest('GET', `/api/v1/app-connections/okta/${app.id}`);
      expect(at(body, 'appConnection', 'credentials', 'keyRegistrationFailure')).toEqual({
        ...failure,
        since: expect.any(String),
      });
      const again = await app.rotate();
      expect([keyIds(again), keyStates(again)]).toEqual([keyIds(rotated), ['RETIRED', 'ACTIVE']]);
      expect(again.credentials.keyRegistrationFailure).toBeNull();
      const events = await listEvents(app.id);
      expect(events.filter(([action]) => action === 'REGISTER_CONNECTION_KEY')).toEqual([
        ['REGISTER_CONNECTION_KEY', code, newId],
      ]);
    },
  );
});

describe('converting a connection', () => {
  const convert = (id: string, to: object) =>
    organisation.client.request(
      `mutation ($id: UUID!, $to: ConvertOktaConnectionInput!) {
        convertOktaConnection(id: $id, to: $to) { appConnection { id } }
      }`,
      { id, to },
    );
  /** A private key of the caller, and its public JWK. */
  const makeOwnKey = () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'own', alg: 'ES256', use: 'sig' };
    return { jwk, privateKey: JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid: 'own' }) };
  };

  test('to a key of the caller ends a rotation that waits for Okta, and deletes its private key', async () => {
    const app = await RotatingApp.create(standIn, organisation);
    const rotated = await app.rotate();
    expect(keyStates(rotated)).toEqual(['ACTIVE', 'PENDING']);
    const { jwk, privateKey } = makeOwnKey();
    await app.configure({ keys: [...publicJwks(rotated), jwk] });
    const { clientId } = app;
    await convert(app.id, { clientId, scopes: rotatingScopes, privateKey });
    expect(keyIds(await app.read())).toEqual(['own']);
    expect(await app.published()).toEqual(['own']);
    expect(await app.use()).toEqual({ status: 200, keyIds: ['own'] });
    expect(keyIds(await app.verify())).toEqual(['own']);
    const em = server.asOwner();
    const row = await em.findOneOrFail(AppConnection, { id: app.id }, { populate: ['sealedCredentials'] });
    expect(Object.keys((await decryptSecrets(row, em, server.vault)) ?? {})).toEqual(['privateKey']);
  });

  test('to a key of the server allows a rotation once Okta has accepted that key', async () => {
    const app = await RotatingApp.create(standIn, organisation);
    const { jwk, privateKey } = makeOwnKey();
    const { clientId } = app;
    await app.configure({ keys: [jwk] });
    await convert(app.id, { clientId, scopes: rotatingScopes, privateKey });
    await convert(app.id, { clientId, scopes: rotatingScopes });
    const [refused] = await errorsOf(app.rotate());
    expect(refused?.extensions).toMatchObject({ code: 'BAD_USER_INPUT' });
    expect(await app.use()).toEqual({ status: 200, keyIds: ['own'] });
    await app.configure({ jwksUrl: app.jwksUrl });
    const [madeId] = keyIds(await app.verify());
    expect(madeId).not.toBe('own');
    const rotated = await app.rotate();
    expect(keyStates(rotated)).toEqual(['RETIRED', 'ACTIVE']);
    expect(keyIds(rotated)[0]).toBe(madeId);
  });
});

describe('a rotation', () => {
  test('is refused for a connection without a key of this server, and before the first key is accepted', async () => {
    const { id: withToken } = await createConnection(organisation, { name: 'with-a-token' });
    const [token] = await errorsOf(organisation.client.request(rotateQuery, { id: withToken }));
    expect(token).toMatchObject({
      message: expect.stringContaining('has no key'),
      extensions: { code: 'BAD_USER_INPUT', remedy: expect.stringContaining('Replace its secret in Okta') },
    });
    const credentials = { instanceUrl: 'https://example.okta.com', clientId: '0oa1ab2cd3EF4GH5i0d7' };
    const create = async (name: string, rest: object) => {
      const { createOktaConnection } = await organisation.client.request<{
        createOktaConnection: { appConnection: { id: string } };
      }>(
        `mutation ($input: CreateOktaConnectionInput!) {
          createOktaConnection(input: $input) { appConnection { id } }
        }`,
        {
          input: {
            name,
            method: 'SERVICE_APP',
            credentials: { ...credentials, scopes: ['okta.users.read'], ...rest },
          },
        },
      );
      return createOktaConnection.appConnection.id;
    };
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const own = await create('own-key', { privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }) });
    const [ofCaller] = await errorsOf(organisation.client.request(rotateQuery, { id: own }));
    expect(ofCaller).toMatchObject({
      message: expect.stringContaining('is your own'),
      extensions: { code: 'BAD_USER_INPUT', remedy: expect.stringContaining('update privateKey') },
    });
    const untried = await create('untried', {});
    const [pending] = await errorsOf(organisation.client.request(rotateQuery, { id: untried }));
    expect(pending?.extensions).toMatchObject({
      code: 'CONNECTION_PENDING',
      remedy: expect.stringContaining('Use a URL to fetch keys dynamically'),
    });
    for (const [id, code] of [
      [own, 'BAD_USER_INPUT'],
      [untried, 'CONNECTION_PENDING'],
    ] as const)
      expect(await listEvents(id)).toEqual([['ROTATE_CONNECTION_KEY', code, null]]);
  });

  test('is done over REST, and shows only the keys to a caller without connections:read', async () => {
    const app = await RotatingApp.create(standIn, organisation);
    const apiKey = await organisation.newKey(['connections:write']);
    const response = await fetch(`${server.url}/api/v1/app-connections/okta/${app.id}/rotate-key`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}` },
    });
    expect(response.status).toBe(200);
    const { keys } = (await app.read()).credentials;
    expect(await response.json()).toEqual({
      appConnection: {
        id: app.id,
        version: 2,
        credentials: { keys: keys.map((key) => ({ ...key, createdAt: expect.any(String) })) },
      },
    });
    expect(keys.map(({ state }) => state)).toEqual(['ACTIVE', 'PENDING']);
  });

  test('keeps private keys out of the database, of responses and of the published set', async () => {
    const app = await RotatingApp.create(standIn, organisation);
    const rotated = await app.rotate();
    const [row] = await server
      .asOwner()
      .execute<[{ text: string }]>(
        'select (select text from (select row_to_json(c)::text as text) t) as text from app_connection c where id = ?',
        [app.id],
      );
    expect(row.text).toContain(keyIds(rotated)[1]);
    for (const text of [row.text, JSON.stringify(rotated), await (await fetch(app.jwksUrl)).text()])
      expect(text).not.toMatch(/"d"|\\"d\\"|PRIVATE KEY/);
  });
});
