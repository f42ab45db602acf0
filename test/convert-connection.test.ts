import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { verifyChain } from '../src/audit/verify-chain.ts';
import { createLog } from '../src/common/log.ts';
import { Secret } from '../src/common/secret.ts';
import { parseKeyring } from '../src/encryption/keyring.ts';
import { Vault } from '../src/encryption/vault.ts';
import { verifyRows } from '../src/integrity/authenticated-rows.ts';
import { RowHistory } from '../src/integrity/row-history.ts';
import { rotateKeys } from '../src/key-rotation/rotate-keys.ts';
import { listAuditEvents } from './testkit/access.ts';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { updateMutation } from './testkit/operations.ts';
import { at, createCheckedClient, type RestClient, restClient } from './testkit/rest.ts';
import { rootKey } from './testkit/root-key.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { createLink, followLink } from './testkit/setup-links.ts';

const [oldRoot, newRoot] = [rootKey('old'), rootKey('new')];
let okta: OktaStandIn;
let otherOkta: OktaStandIn;
let server: TestServer;
let organisation: TestOrganisation;
let rest: RestClient;
beforeAll(async () => {
  okta = await startOktaStandIn();
  otherOkta = await startOktaStandIn();
  server = await startTestServer({
    rootKeys: [oldRoot, newRoot].join(','),
    config: { trustedInstanceHosts: new Set([okta.hostPort, otherOkta.hostPort]) },
  });
  organisation = await server.newOrganisation();
  rest = await createCheckedClient(server.url, organisation.apiKey);
});
afterAll(async () => {
  await server.close();
  await okta[Symbol.asyncDispose]();
  await otherOkta[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await okta.takeJournal();
});

interface Credentials {
  __typename: string;
  clientId?: string;
  scopes?: string[];
  keys?: { keyId: string; publicJwk: Record<string, string>; state: string }[];
  jwksUrl?: string;
}

interface Connection {
  id: string;
  name: string;
  version: number;
  method: string;
  isPlatformManagedCredentials: boolean;
  credentialsHash: string;
  credentials: Credentials;
  verification: { status: string; code: string | null };
  conversion: null | {
    method: string;
    credentials: Credentials & { instanceUrl: string };
    verification: { status: string; code: string | null; message: string | null };
  };
}

const fields = gql`
  fragment Fields on AppConnection {
    id name version method isPlatformManagedCredentials credentialsHash usePolicy { rules { path } }
    credentials { ...Shown }
    verification { status code }
    conversion { method credentials { ...Shown } verification { status code message } }
  }
  fragment Shown on AppConnectionCredentials {
    __typename instanceUrl
    ... on OktaServiceAppCredentials { clientId scopes keys { keyId publicJwk state } jwksUrl }
  }
`;
const send = async (field: string, document: string, variables: object): Promise<Connection> =>
  (
    await organisation.client.request<Record<string, { appConnection: Connection }>>(
      document + fields,
      variables,
    )
  )[field]?.appConnection as Connection;
const convert = (id: string, to: object, version?: number) =>
  send(
    'convertOktaConnection',
    gql`mutation ($id: UUID!, $to: ConvertOktaConnectionInput!, $version: Int) {
      convertOktaConnection(id: $id, to: $to, version: $version, acknowledgeUse: true) { appConnection { ...Fields } }
    }`,
    { id, to, version },
  );
const verify = (id: string) =>
  send(
    'verifyAppConnection',
    gql`mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { ...Fields } } }`,
    { id },
  );
const cancel = (id: string) =>
  send(
    'cancelAppConnectionConversion',
    gql`mutation ($id: UUID!) { cancelAppConnectionConversion(id: $id) { appConnection { ...Fields } } }`,
    { id },
  );
const read = async (id: string): Promise<Connection> => {
  const query = gql`query ($id: UUID!) { appConnection(id: $id) { ...Fields } } ${fields}`;
  return (await organisation.client.request<{ appConnection: Connection }>(query, { id })).appConnection;
};

const scopes = ['okta.groups.read', 'okta.users.read'];
let count = 0;
/** The credentials of another service app, without a key. */
const newApp = () => {
  count += 1;
  return { clientId: `0oa${String(count).padStart(17, '0')}`, scopes };
};
const newKey = () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  return { pem, jwk: { ...publicKey.export({ format: 'jwk' }), kid: 'mine' } };
};

/** Creates a connection with an API token, whose policy allows requests for users. */
async function connect() {
  const apiToken = `00planted${randomUUID().replaceAll('-', '')}`;
  const { body } = await rest('POST', '/api/v1/app-connections/okta', {
    name: `connection-${randomUUID()}`,
    credentials: { instanceUrl: okta.origin, apiToken },
  });
  const { id } = Object(at(body, 'appConnection'));
  const path = `/api/v1/app-connections/okta/${id}`;
  await rest('PUT', `${path}/use-policy`, { rules: [{ effect: 'ALLOW', path: '/api/v1/users' }] });
  await okta.takeJournal();
  return { path, apiToken, before: await read(id), id };
}

const use = async (id: string): Promise<number> => {
  const proxy = restClient(server.url, organisation.apiKey);
  return (await proxy('GET', `/api/v1/app-connections/okta/${id}/proxy/api/v1/users?limit=1`)).status;
};

/** How the requests for users since the last call were authorized. */
async function listSchemes(): Promise<string[]> {
  const journal = await okta.takeJournal();
  return journal
    .filter(({ url }) => url.startsWith('/api/v1/users?'))
    .map(({ headers }) => {
      const index = headers.findIndex((name) => name.toLowerCase() === 'authorization');
      return headers[index + 1]?.split(' ')[0] ?? '';
    });
}

describe('converting a connection with an API token to a service app whose key this server makes', () => {
  test('leaves no gap: it works with the token until Okta accepts the key, and with the key from then on', async () => {
    const { id, before } = await connect();
    const app = newApp();
    const pending = await convert(id, app);
    expect(pending).toEqual({
      ...before,
      version: before.version + 1,
      conversion: {
        method: 'SERVICE_APP',
        credentials: {
          __typename: 'OktaServiceAppCredentials',
          instanceUrl: okta.origin,
          ...app,
          keys: [{ keyId: expect.any(String), publicJwk: expect.any(Object), state: 'PENDING' }],
          jwksUrl: `${server.url}/.well-known/app-connections/${id}/jwks.json`,
        },
        verification: {
          status: 'PENDING',
          code: null,
          message: 'Okta does not know the key of this connection yet.',
        },
      },
    });
    const { keys: [key] = [], jwksUrl = '' } = pending.conversion?.credentials ?? {};
    expect(await (await fetch(jwksUrl)).json()).toEqual({ keys: [key?.publicJwk] });
    expect(await use(id)).toBe(200);

    // Okta does not have the app yet: both diagnoses are told, and nothing else changes.
    const refused = await verify(id);
    expect(refused).toMatchObject({
      method: 'API_TOKEN',
      version: pending.version,
      verification: { status: 'VERIFIED' },
      conversion: { verification: { status: 'REJECTED', code: 'CREDENTIALS_REJECTED' } },
    });
    expect(await use(id)).toBe(200);
    expect(new Set(await listSchemes())).toEqual(new Set(['SSWS']));

    await okta.setServiceApp({ ...app, jwksUrl });
    const uses = Array.from({ length: 12 }, () => use(id));
    const [converted, ...statuses] = await Promise.all([verify(id), ...uses]);
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(await use(id)).toBe(200);
    expect((await listSchemes()).at(-1)).toBe('DPoP');
    expect(converted).toEqual({
      ...before,
      version: pending.version + 1,
      method: 'SERVICE_APP',
      isPlatformManagedCredentials: true,
      credentialsHash: expect.not.stringMatching(before.credentialsHash),
      credentials: { ...pending.conversion?.credentials, keys: [{ ...key, state: 'ACTIVE' }] },
      conversion: null,
    });
    expect(await (await fetch(jwksUrl)).json()).toEqual({ keys: [key?.publicJwk] });
    const events = (await listAuditEvents(organisation.client)).filter(
      ({ action }) => action === 'CONVERT_CONNECTION',
    );
    expect(events.slice(-3)).toMatchObject([
      { outcome: 'OK', changedFields: ['conversion'] },
      { outcome: 'CREDENTIALS_REJECTED', changedFields: ['conversion'] },
      {
        outcome: 'OK',
        changedFields: ['method', 'credentials.scopes', 'credentials.clientId', 'credentials.privateKey'],
      },
    ]);
  });

  test('reports both results if Okta rejects the token in use and the new key', async () => {
    const { id, apiToken } = await connect();
    await convert(id, newApp());
    await okta.revoke(apiToken);
    const rejected = { status: 'REJECTED', code: 'CREDENTIALS_REJECTED' };
    const refused = await verify(id);
    expect(refused).toMatchObject({ verification: rejected, conversion: { verification: rejected } });
    expect(await read(id)).toEqual(refused);
  });

  test('is pending again after an update of the URL', async () => {
    const { id, apiToken } = await connect();
    await convert(id, newApp());
    expect((await verify(id)).conversion?.verification.status).toBe('REJECTED');
    const credentials = { instanceUrl: otherOkta.origin, apiToken };
    const input = { credentials, allowDifferentOktaOrg: true };
    await organisation.client.request(updateMutation, { id, input });
    expect((await read(id)).conversion).toMatchObject({
      credentials: { instanceUrl: otherOkta.origin },
      verification: { status: 'PENDING', code: null },
    });
  });

  test('can be cancelled: the key is gone from the published set, and the connection is as it was', async () => {
    const { id, before } = await connect();
    const pending = await convert(id, newApp());
    const cancelled = await cancel(id);
    expect(cancelled).toEqual({ ...before, version: before.version + 2 });
    const jwks = await fetch(pending.conversion?.credentials.jwksUrl ?? '');
    expect(await jwks.json()).toEqual({ keys: [] });
    expect(await cancel(id)).toEqual(cancelled);
    expect(await verify(id)).toMatchObject({ method: 'API_TOKEN', verification: { status: 'VERIFIED' } });
    expect(await use(id)).toBe(200);
  });

  test('keeps its key while the client and the scopes are corrected, and while the token is replaced', async () => {
    const { id } = await connect();
    const pending = await convert(id, newApp());
    const app = newApp();
    const corrected = await convert(id, app);
    const { keys, jwksUrl = '' } = pending.conversion?.credentials ?? {};
    expect(corrected).toMatchObject({
      version: pending.version + 1,
      conversion: { credentials: { ...app, keys } },
    });
    expect((await convert(id, app)).version).toBe(corrected.version);
    await organisation.client.request(updateMutation, {
      id,
      input: { credentials: { apiToken: `00another${randomUUID()}` } },
    });
    expect((await read(id)).conversion).toEqual(corrected.conversion);
    await okta.setServiceApp({ ...app, jwksUrl });
    expect(await verify(id)).toMatchObject({
      method: 'SERVICE_APP',
      credentials: { keys: [{ keyId: keys?.[0]?.keyId }] },
    });
    expect(await use(id)).toBe(200);
  });

  test('survives a rotation of the encryption keys, and leaves rows that the audit trail confirms', async () => {
    const { id } = await connect();
    const app = newApp();
    const { conversion } = await convert(id, app);
    const vault = new Vault(parseKeyring(new Secret([newRoot, oldRoot].join(','))), createLog('silent'));
    const apps = createApps({ trustedHosts: new Set([okta.hostPort]) });
    const { failures, sealKeys } = await rotateKeys(
      { database: server.database, vault, apps },
      { reseal: true, onProgress: () => undefined },
    );
    expect(sealKeys).toBeGreaterThan(0);
    expect(failures).toEqual([]);
    await okta.setServiceApp({ ...app, jwksUrl: conversion?.credentials.jwksUrl ?? '' });
    expect(await verify(id)).toMatchObject({ method: 'SERVICE_APP' });

    const history = new RowHistory();
    const { orgId } = organisation;
    await verifyChain(() => server.database.forOrganisation(orgId), server.vault, orgId, {
      onEvent: history.add.bind(history),
    });
    const found: unknown[] = [];
    for await (const line of history.contradictions(server.database, orgId)) found.push(line);
    for await (const row of verifyRows(server.database, server.vault)) found.push(row);
    expect(found).toEqual([]);
  });

  test('is completed by “Check now” of a setup link, which shows it and nothing of the token', async () => {
    const { id } = await connect();
    const app = newApp();
    const { conversion } = await convert(id, app);
    const page = followLink(server.url, (await createLink(organisation.client, id)).secret);
    const opened = await page.open();
    expect(opened.body).toMatchObject({
      setup: {
        method: { id: 'service-app' },
        fields: [{ name: 'clientId', value: app.clientId }],
        keys: [{ keyId: conversion?.credentials.keys?.[0]?.keyId, state: 'PENDING' }],
        verification: { status: 'PENDING' },
      },
    });
    expect((await page.check()).body).toMatchObject({
      isFinished: false,
      setup: { verification: { status: 'REJECTED', code: 'CREDENTIALS_REJECTED' } },
    });
    await okta.setServiceApp({ ...app, jwksUrl: conversion?.credentials.jwksUrl ?? '' });
    expect((await page.check()).body).toMatchObject({
      isFinished: true,
      setup: { verification: { status: 'VERIFIED' } },
    });
    expect((await page.check()).status).toBe(401);
    expect(await read(id)).toMatchObject({ method: 'SERVICE_APP', conversion: null });
  });

  test('works over REST, also for a caller who may only write and who sees only what it needs', async () => {
    const { id, path } = await connect();
    const app = newApp();
    const writer = await createCheckedClient(server.url, await organisation.newKey(['connections:write']));
    const { body } = await writer('POST', `${path}/convert`, { to: app });
    const { conversion, ...others } = Object(at(body, 'appConnection'));
    expect(Object.keys(others).sort()).toEqual(['id', 'method', 'version']);
    expect(conversion).toMatchObject({ method: 'service-app', verification: { status: 'PENDING' } });
    expect(Object.keys(conversion.credentials).sort()).toEqual(['clientId', 'jwksUrl', 'keys', 'scopes']);
    expect(at((await rest('GET', path)).body, 'appConnection', 'conversion')).toMatchObject(conversion);
    expect(at((await writer('DELETE', `${path}/conversion`)).body, 'appConnection')).toEqual({
      id,
      version: others.version + 1,
    });
    expect(at((await rest('GET', path)).body, 'appConnection')).not.toHaveProperty('conversion');
  });
});

describe('converting a connection to a service app with a private key of the caller', () => {
  test('replaces the token at once if Okta accepts the key', async () => {
    const { id, before } = await connect();
    const [app, { pem, jwk }] = [newApp(), newKey()];
    await okta.setServiceApp({ ...app, keys: [jwk] });
    expect(await convert(id, { ...app, privateKey: pem, keyId: 'mine' })).toMatchObject({
      id,
      name: before.name,
      method: 'SERVICE_APP',
      isPlatformManagedCredentials: false,
      version: before.version + 1,
      credentials: { ...app, keys: [{ keyId: 'mine', state: 'ACTIVE' }] },
      verification: { status: 'VERIFIED' },
      conversion: null,
    });
    await okta.takeJournal();
    expect(await use(id)).toBe(200);
    expect(new Set(await listSchemes())).toEqual(new Set(['DPoP']));
  });

  test('changes nothing if Okta refuses, and says why', async () => {
    const { id, before, path } = await connect();
    const to = { ...newApp(), privateKey: newKey().pem };
    const [error] = await errorsOf(convert(id, to));
    expect(error?.extensions).toMatchObject({ code: 'CREDENTIALS_REJECTED', remedy: expect.any(String) });
    expect(await rest('POST', `${path}/convert`, { to })).toMatchObject({
      status: 422,
      body: { code: 'CREDENTIALS_REJECTED' },
    });
    expect(await read(id)).toEqual(before);
    expect(await use(id)).toBe(200);
  });

  test('names the field of bad input, and the version that was meant', async () => {
    const { id, before } = await connect();
    const pathsOf = async (to: object) =>
      (await errorsOf(convert(id, to)))[0]?.extensions.issues?.map(({ path }) => path.join('.'));
    expect(await pathsOf({ clientId: '', scopes: ['users'] })).toEqual(
      expect.arrayContaining(['to.clientId', 'to.scopes.0']),
    );
    expect(await pathsOf({ ...newApp(), keyId: 'mine' })).toEqual(['to.keyId']);
    expect(await pathsOf({ ...newApp(), clientId: undefined, privateKey: newKey().pem })).toEqual([
      'to.clientId',
    ]);
    expect(await pathsOf({ ...newApp(), privateKey: 'no-key' })).toEqual(['to.privateKey']);
    const [conflict] = await errorsOf(convert(id, newApp(), before.version + 7));
    expect(conflict?.extensions.code).toBe('VERSION_CONFLICT');
    const [update] = await errorsOf(
      organisation.client.request(updateMutation, {
        id,
        input: { credentials: { clientId: '0oa1ab2cd3EF4GH5i0d7' } },
      }),
    );
    expect(JSON.stringify(update?.extensions.issues)).toContain('convertOktaConnection');
    expect(await read(id)).toEqual(before);
  });
});

describe('converting a service app', () => {
  test('exchanges a key of the caller and one of this server, in both directions', async () => {
    const { id } = await connect();
    const [app, { pem, jwk }] = [newApp(), newKey()];
    await okta.setServiceApp({ ...app, keys: [jwk] });
    const own = { ...app, privateKey: pem, keyId: 'mine' };
    const given = await convert(id, own);
    const [again] = await errorsOf(convert(id, own));
    expect(again?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path: ['to'] }] });

    const pending = await convert(id, app);
    expect(pending).toMatchObject({ credentials: given.credentials, conversion: { method: 'SERVICE_APP' } });
    const { keys: [made] = [], jwksUrl = '' } = pending.conversion?.credentials ?? {};
    const { keys } = await (await fetch(jwksUrl)).json();
    expect(keys.map(({ kid }: { kid: string }) => kid)).toEqual(['mine', made?.keyId]);
    expect(await use(id)).toBe(200);
    await okta.setServiceApp({ ...app, jwksUrl });
    expect(await verify(id)).toMatchObject({
      isPlatformManagedCredentials: true,
      credentials: { keys: [{ keyId: made?.keyId, state: 'ACTIVE' }] },
      conversion: null,
    });
    expect(await use(id)).toBe(200);
    const [managed] = await errorsOf(convert(id, app));
    expect(managed?.extensions.code).toBe('BAD_USER_INPUT');

    await okta.setServiceApp({ ...app, keys: [jwk] });
    expect(await convert(id, own)).toMatchObject({
      isPlatformManagedCredentials: false,
      credentials: { keys: [{ keyId: 'mine' }] },
    });
    expect(await use(id)).toBe(200);
  });
});
