import { generateKeyPairSync } from 'node:crypto';
import type { JWK } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { listAuditEvents } from './testkit/access.ts';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { updateMutation } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import {
  keyIds,
  publicJwks,
  RotatingApp,
  registeringScopes,
  rotatingScopes,
} from './testkit/rotating-connection.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 180_000 });

const stack = new AsyncDisposableStack();
let standIn: OktaStandIn;
/** A server that never removes keys: as if it was killed after each change. */
let killed: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  standIn = stack.use(await startOktaStandIn());
  const config = { trustedInstanceHosts: new Set([standIn.hostPort]) };
  killed = await startTestServer({ config });
  stack.defer(() => killed.close());
  for (const _ of ['one', 'two']) {
    const removing = { revocationIntervalMs: 50, beside: killed, database: killed.database };
    const server = await startTestServer({ config, ...removing });
    stack.defer(() => server.close());
  }
});
afterAll(() => stack.disposeAsync());
beforeEach(async () => {
  organisation = await killed.newOrganisation();
});

const makeKey = (kid: string): JWK => ({
  ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' }),
  ...{ kid, alg: 'ES256', use: 'sig' },
});

let count = 0;
/** Creates another app in Okta that has the keys of the connection, and lets the connection use it. */
async function move(app: RotatingApp, { scopes = registeringScopes } = {}): Promise<string> {
  count += 1;
  const clientId = `0oamoved${String(count).padStart(12, '0')}`;
  await standIn.setServiceApp({ clientId, scopes, keys: publicJwks(await app.read()) });
  await setClientId(app, clientId);
  return clientId;
}

const setClientId = ({ id }: RotatingApp, clientId: string) =>
  organisation.client.request(updateMutation, { id, input: { credentials: { clientId } } });

/** Waits for the events about the keys at the former app. */
const removals = (expected: number) =>
  until('the events of the removal', async () => {
    const events = (await listAuditEvents(organisation.client)).filter(
      ({ action }) => action === 'REMOVE_CONNECTION_KEY',
    );
    return events.length >= expected
      ? events.map(({ targetName, outcome, keyId }) => ({ targetName, outcome, keyId }))
      : undefined;
  });

const readFailure = async (app: RotatingApp) => (await app.read()).credentials.keyRegistrationFailure;

describe('another client ID for a service app whose key this server makes', () => {
  it('removes its keys at the former app, after Okta has accepted the new one, and no other key', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    const before = await app.rotate();
    const ids = keyIds(before);
    expect(ids).toHaveLength(2);
    const keys = [...publicJwks(before), makeKey('foreign')];
    await app.configure({ scopes: registeringScopes, keys });
    await app.verify();
    await standIn.answerNext(`/api/v1/apps/${app.clientId}/credentials/jwks`, { status: 503 });
    await move(app);
    const events = await removals(2);
    expect(events).toEqual(
      expect.arrayContaining(ids.map((targetName) => ({ targetName, outcome: 'OK', keyId: null }))),
    );
    expect(events).toHaveLength(2);
    expect(await app.keysInOkta()).toEqual(['ACTIVE foreign']);
    expect(await readFailure(app)).toBeNull();
    expect((await app.use()).status).toBe(200);
  });

  it('names the last key of the former app, which Okta does not remove, and removes the others', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    const [retiredId = '', activeId = ''] = keyIds(await app.rotate());
    await move(app);
    const events = await removals(2);
    expect(events).toEqual(
      expect.arrayContaining([
        { targetName: retiredId, outcome: 'OK', keyId: null },
        { targetName: activeId, outcome: 'INSUFFICIENT_PERMISSIONS', keyId: null },
      ]),
    );
    expect(await app.keysInOkta()).toEqual([`ACTIVE ${activeId}`]);
    const failure = await readFailure(app);
    expect(failure?.message).toContain(
      `${app.clientId} still accepts these keys of this connection: ${activeId}.`,
    );
    expect(failure?.message).not.toContain(retiredId);
    expect((await app.use()).status).toBe(200);
  });

  it('names the keys at the former app that Okta fetches, or that the connection may not remove', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: rotatingScopes });
    const [id = ''] = keyIds(await app.read());
    const { clientId: firstId } = app;
    await move(app, { scopes: rotatingScopes });
    const failure = await readFailure(app);
    expect(failure?.code).toBe('INSUFFICIENT_PERMISSIONS');
    expect(failure?.message).toContain(`${firstId} still accepts these keys of this connection: ${id}.`);
    expect(failure?.remedy).toContain('delete the app');

    const fetching = await RotatingApp.create(standIn, organisation, {
      byUrl: true,
      scopes: registeringScopes,
    });
    await move(fetching);
    const [event] = await removals(1);
    expect(event?.outcome).toBe('INSUFFICIENT_PERMISSIONS');
    expect((await readFailure(fetching))?.message).toContain(fetching.clientId);
  });

  it('removes no key of an app to which the connection has returned', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    const [id = ''] = keyIds(await app.read());
    await app.configure({
      scopes: registeringScopes,
      keys: [...publicJwks(await app.read()), makeKey('foreign')],
    });
    const second = await move(app);
    await setClientId(app, app.clientId);
    const events = await removals(2);
    expect(events.map(({ outcome }) => outcome).sort()).toEqual([
      'CONNECTION_IN_USE',
      'INSUFFICIENT_PERMISSIONS',
    ]);
    expect(await app.keysInOkta()).toEqual([`ACTIVE ${id}`, 'ACTIVE foreign']);
    expect((await readFailure(app))?.message).toContain(second);
  });

  it('says nothing before Okta has accepted the first key', async () => {
    const { createOktaConnection } = await organisation.client.request<{
      createOktaConnection: { appConnection: { id: string } };
    }>(
      `mutation ($credentials: OktaCredentialsInput!) {
        createOktaConnection(input: { name: "untried", method: SERVICE_APP, credentials: $credentials }) {
          appConnection { id }
        }
      }`,
      {
        credentials: {
          ...{ instanceUrl: standIn.origin, clientId: '0oamistyped000000000', scopes: registeringScopes },
        },
      },
    );
    const { id } = createOktaConnection.appConnection;
    await organisation.client.request(updateMutation, {
      id,
      input: { credentials: { clientId: '0oacorrected00000000' } },
    });
    const [row] = await killed
      .asOwner()
      .execute('select revocations, key_registration_failure as failure from app_connection where id = ?', [
        id,
      ]);
    expect(row).toEqual({ revocations: null, failure: null });
  });
});

describe('a conversion to a private key of the caller at another client ID', () => {
  const convertMutation = `mutation ($id: UUID!, $to: ConvertOktaConnectionInput!) {
    convertOktaConnection(id: $id, to: $to) { appConnection { id } }
  }`;

  it('keeps the key of the caller at an app that it leaves later', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    const before = await app.read();
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const own = { ...publicKey.export({ format: 'jwk' }), kid: 'own', alg: 'ES256', use: 'sig' };
    const keys = [...publicJwks(before), own];
    await app.configure({ scopes: registeringScopes, keys });
    const { clientId } = app;
    await organisation.client.request(convertMutation, {
      id: app.id,
      to: {
        ...{ clientId, scopes: registeringScopes, keyId: 'own' },
        privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }),
      },
    });
    await move(app);
    const [id] = keyIds(before);
    expect(await removals(1)).toEqual([{ targetName: id, outcome: 'OK', keyId: null }]);
    expect(await app.keysInOkta()).toEqual(['ACTIVE own']);
  });

  it('removes the keys of the server at the former app', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    const before = await app.read();
    await app.configure({ scopes: registeringScopes, keys: [...publicJwks(before), makeKey('foreign')] });
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const own = { ...publicKey.export({ format: 'jwk' }), kid: 'own', alg: 'ES256', use: 'sig' };
    const clientId = '0oaconverted00000000';
    await standIn.setServiceApp({ clientId, scopes: registeringScopes, keys: [own] });
    await organisation.client.request(convertMutation, {
      id: app.id,
      to: {
        ...{ clientId, scopes: registeringScopes, keyId: 'own' },
        privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }),
      },
    });
    const [id] = keyIds(before);
    expect(await removals(1)).toEqual([{ targetName: id, outcome: 'OK', keyId: null }]);
    expect(await app.keysInOkta()).toEqual(['ACTIVE foreign']);
    expect(keyIds(await app.read())).toEqual(['own']);
  });
});
