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

function makeKeyPair(kid: string): { publicJwk: JWK; privateKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    publicJwk: { ...publicKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' },
    privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
  };
}
const makeKey = (kid: string) => makeKeyPair(kid).publicJwk;
const makeOwnKey = () => makeKeyPair('own');

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

/** Converts the connection to a private key of the caller, whose id is `own`. */
const convert = ({ id }: RotatingApp, clientId: string, privateKey: string) =>
  organisation.client.request(
    `mutation ($id: UUID!, $to: ConvertOktaConnectionInput!) {
      convertOktaConnection(id: $id, to: $to) { appConnection { id } }
    }`,
    { id, to: { clientId, scopes: registeringScopes, keyId: 'own', privateKey } },
  );

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
    // Those of the former app are removed there, and not once more at this one.
    expect(keyIds(await app.read())).toEqual(ids.slice(1));
    const events = await removals(2);
    expect(events).toEqual(
      expect.arrayContaining(ids.map((targetName) => ({ targetName, outcome: 'OK', keyId: null }))),
    );
    expect(events).toHaveLength(2);
    expect(await app.keysInOkta()).toEqual(['ACTIVE foreign']);
    expect(await readFailure(app)).toBeNull();
    expect((await app.use()).status).toBe(200);
  });

  it('names only the keys that Okta does not remove: the last one of the former app, and those that it refuses', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    const [retiredId = '', lastId = ''] = keyIds(await app.rotate());
    const refused = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    await refused.rotate();
    const before = await refused.rotate();
    const [refusedId = '', removedId = '', activeId = ''] = keyIds(before);
    await refused.configure({ scopes: registeringScopes, keys: [...publicJwks(before), makeKey('foreign')] });
    await refused.verify();
    const path = `/api/v1/apps/${refused.clientId}/credentials/jwks/${await refused.idInOkta(refusedId)}`;
    await standIn.answerNext(path, { status: 403 });
    for (const each of [app, refused]) await move(each);
    const events = await removals(5);
    expect(Object.fromEntries(events.map(({ targetName, outcome }) => [targetName, outcome]))).toEqual({
      [retiredId]: 'OK',
      [lastId]: 'INSUFFICIENT_PERMISSIONS',
      [refusedId]: 'INSUFFICIENT_PERMISSIONS',
      [removedId]: 'OK',
      [activeId]: 'INSUFFICIENT_PERMISSIONS',
    });
    expect(await app.keysInOkta()).toEqual([`ACTIVE ${lastId}`]);
    const failure = await readFailure(app);
    expect(failure?.message).toContain(
      `${app.clientId} may still accept these keys, which this connection no longer uses: ${lastId}.`,
    );
    expect(failure?.message).not.toContain(retiredId);
    const { message } = (await readFailure(refused)) ?? {};
    for (const id of [refusedId, activeId]) expect(message).toContain(id);
    expect(message).not.toContain(removedId);
    expect((await app.use()).status).toBe(200);
  });

  it('names the keys at the former app that Okta fetches, or that the connection may not remove, or if the app is inactive', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: rotatingScopes });
    const [id = ''] = keyIds(await app.read());
    const { clientId: firstId } = app;
    await move(app, { scopes: rotatingScopes });
    const failure = await readFailure(app);
    expect(failure?.code).toBe('INSUFFICIENT_PERMISSIONS');
    expect(failure?.message).toContain(
      `${firstId} may still accept these keys, which this connection no longer uses: ${id}.`,
    );
    expect(failure?.remedy).toContain('delete the app');

    const fetching = await RotatingApp.create(standIn, organisation, {
      byUrl: true,
      scopes: registeringScopes,
    });
    const [fetchedId = ''] = keyIds(await fetching.read());
    const [inactive, deleted] = [
      await RotatingApp.create(standIn, organisation, { scopes: registeringScopes }),
      await RotatingApp.create(standIn, organisation, { scopes: registeringScopes }),
    ];
    const [inactiveId = ''] = keyIds(await inactive.read());
    const [deletedId = ''] = keyIds(await deleted.read());
    // Okta refuses the token of both with the same error.
    const keys = publicJwks(await inactive.read());
    await inactive.configure({ scopes: registeringScopes, keys, isActive: false });
    await standIn.deleteServiceApp(deleted.clientId);
    for (const each of [fetching, inactive, deleted]) await move(each);
    const events = await removals(3);
    expect(Object.fromEntries(events.map(({ targetName, outcome }) => [targetName, outcome]))).toEqual({
      [fetchedId]: 'INSUFFICIENT_PERMISSIONS',
      [inactiveId]: 'CREDENTIALS_REJECTED',
      [deletedId]: 'OK',
    });
    for (const each of [fetching, inactive])
      expect((await readFailure(each))?.message).toContain(each.clientId);
    expect(await readFailure(deleted)).toBeNull();
  });

  it('keeps only those keys at the former app that the connection uses again', async () => {
    const scopes = registeringScopes;
    const app = await RotatingApp.create(standIn, organisation, { scopes });
    const [id = ''] = keyIds(await app.read());
    await app.configure({ scopes, keys: [...publicJwks(await app.read()), makeKey('foreign')] });
    const second = await move(app);
    await setClientId(app, app.clientId);

    const converted = await RotatingApp.create(standIn, organisation, { scopes });
    const [replacedId = ''] = keyIds(await converted.read());
    const own = makeOwnKey();
    await converted.configure({ scopes, keys: [...publicJwks(await converted.read()), own.publicJwk] });
    await move(converted);
    await convert(converted, converted.clientId, own.privateKey);

    const late = await RotatingApp.create(standIn, organisation, { scopes });
    const rotated = await late.rotate();
    const [retiredId = '', activeId = ''] = keyIds(rotated);
    await late.configure({ scopes, keys: [...publicJwks(rotated), makeKey('foreign')] });
    await late.verify();
    const held = await standIn.holdNext(`/api/v1/apps/${late.clientId}/credentials/jwks`);
    await move(late);
    // The removal has begun when the connection returns.
    await held.arrived();
    await setClientId(late, late.clientId);
    await held.release();

    const events = await removals(7);
    const outcomes = (keyId: string) =>
      events
        .filter(({ targetName }) => targetName === keyId)
        .map(({ outcome }) => outcome)
        .sort();
    expect(outcomes(id)).toEqual(['CONNECTION_IN_USE', 'INSUFFICIENT_PERMISSIONS']);
    expect(await app.keysInOkta()).toEqual([`ACTIVE ${id}`, 'ACTIVE foreign']);
    expect((await readFailure(app))?.message).toContain(second);
    expect(outcomes(replacedId)).toEqual(['INSUFFICIENT_PERMISSIONS', 'OK']);
    expect(await converted.keysInOkta()).toEqual(['ACTIVE own']);
    expect(outcomes(retiredId)).toEqual(['OK']);
    expect(outcomes(activeId)).toEqual(['CONNECTION_IN_USE', 'OK']);
    expect(await late.keysInOkta()).toEqual([`ACTIVE ${activeId}`, 'ACTIVE foreign']);
    expect((await late.use()).status).toBe(200);
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
  it('keeps the key of the caller at an app that it leaves later', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    const before = await app.read();
    const own = makeOwnKey();
    const keys = [...publicJwks(before), own.publicJwk];
    await app.configure({ scopes: registeringScopes, keys });
    await convert(app, app.clientId, own.privateKey);
    await move(app);
    const [id] = keyIds(before);
    expect(await removals(1)).toEqual([{ targetName: id, outcome: 'OK', keyId: null }]);
    expect(await app.keysInOkta()).toEqual(['ACTIVE own']);
  });

  it('removes the keys of the server at the former app', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    const before = await app.read();
    await app.configure({ scopes: registeringScopes, keys: [...publicJwks(before), makeKey('foreign')] });
    const own = makeOwnKey();
    const clientId = '0oaconverted00000000';
    await standIn.setServiceApp({ clientId, scopes: registeringScopes, keys: [own.publicJwk] });
    await convert(app, clientId, own.privateKey);
    const [id] = keyIds(before);
    expect(await removals(1)).toEqual([{ targetName: id, outcome: 'OK', keyId: null }]);
    expect(await app.keysInOkta()).toEqual(['ACTIVE foreign']);
    expect(keyIds(await app.read())).toEqual(['own']);
  });
});
