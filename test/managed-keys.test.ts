import { createPublicKey, generateKeyPairSync, verify as verifySignature } from 'node:crypto';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { startOkta, type TestOkta } from './testkit/okta.ts';
import { fakeParcelDepot, parcelDepot } from './testkit/second-app.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

const trusted = new Set<string>();
let depot: TestOkta;
let server: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  depot = await startOkta({ handler: fakeParcelDepot });
  trusted.add(depot.hostPort);
  server = await startTestServer({
    config: { trustedInstanceHosts: trusted },
    apps: [...createApps({ trustedHosts: trusted }), parcelDepot({ origin: depot.origin })],
  });
});
afterAll(async () => {
  await server.close();
  await depot.close();
});
beforeEach(async () => {
  organisation = await server.newOrganisation();
  depot.behave(fakeParcelDepot);
});

interface Connection {
  id: string;
  version: number;
  isPlatformManagedCredentials: boolean;
  credentialsHash: string;
  credentials: {
    __typename: string;
    shelves: string[];
    depotKeyName: string | null;
    keys: { keyId: string; publicJwk: Record<string, string>; createdAt: string; state: string }[];
    jwksUrl: string;
  };
  verification: Record<string, string | null>;
}

const fields = gql`
  fragment Fields on AppConnection {
    id version isPlatformManagedCredentials credentialsHash
    credentials {
      __typename
      ... on ParcelDepotKeyPairCredentials {
        shelves depotKeyName keys { keyId publicJwk createdAt state } jwksUrl
      }
    }
    verification { status checkedAt lastVerifiedAt failingSince code message remedy }
  }
`;

async function create(credentials: object, rest: object = {}): Promise<Connection> {
  const input = { name: 'my-depot', method: 'KEY_PAIR', credentials, ...rest };
  const { createParcelDepotConnection } = await organisation.client.request<{
    createParcelDepotConnection: { appConnection: Connection };
  }>(
    gql`
      mutation ($input: CreateParcelDepotConnectionInput!) {
        createParcelDepotConnection(input: $input) { appConnection { ...Fields } }
      }
      ${fields}
    `,
    { input },
  );
  return createParcelDepotConnection.appConnection;
}

async function update(id: string, input: object): Promise<Connection> {
  const { updateParcelDepotConnection } = await organisation.client.request<{
    updateParcelDepotConnection: { appConnection: Connection };
  }>(
    gql`
      mutation ($id: UUID!, $input: UpdateParcelDepotConnectionInput!) {
        updateParcelDepotConnection(id: $id, input: $input) { appConnection { ...Fields } }
      }
      ${fields}
    `,
    { id, input },
  );
  return updateParcelDepotConnection.appConnection;
}

async function verify(id: string): Promise<Connection> {
  const { verifyAppConnection } = await organisation.client.request<{
    verifyAppConnection: { appConnection: Connection };
  }>(
    gql`
      mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { ...Fields } } }
      ${fields}
    `,
    { id },
  );
  return verifyAppConnection.appConnection;
}

async function rest(method: string, path: string, body?: object): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${server.url}/api/v1/app-connections/parcel-depot${path}`, {
    method,
    headers: {
      authorization: `Bearer ${organisation.apiKey}`,
      ...(body && { 'content-type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: JSON.parse(await response.text()) };
}

/** Whether the last request to the depot was signed with this key. */
function isSignedWith(publicJwk: Record<string, string> | undefined, text: string): boolean {
  const { signature } = JSON.parse(depot.requests.at(-1)?.headers.authorization ?? '{}');
  const key = createPublicKey({ key: { ...publicJwk }, format: 'jwk' });
  return verifySignature(null, Buffer.from(text), key, Buffer.from(signature, 'hex'));
}

const newKey = () =>
  generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();

describe('a connection whose key this server makes', () => {
  test('is PENDING without a call to the app, shows its public key, and is VERIFIED once the app accepts it', async () => {
    const requestsBefore = depot.requests.length;
    const created = await create({ shelves: ['2', '1'] });
    expect(depot.requests).toHaveLength(requestsBefore);
    expect(created).toMatchObject({
      version: 1,
      isPlatformManagedCredentials: true,
      credentials: {
        __typename: 'ParcelDepotKeyPairCredentials',
        shelves: ['1', '2'],
        depotKeyName: null,
        keys: [{ keyId: expect.stringMatching(/^[0-9a-f]{12}$/), state: 'PENDING' }],
        jwksUrl: `${server.url}/.well-known/app-connections/${created.id}/jwks.json`,
      },
      verification: {
        status: 'PENDING',
        checkedAt: null,
        lastVerifiedAt: null,
        failingSince: null,
        code: null,
        message: 'The depot does not know the key yet.',
        remedy: 'Hang the key on the gate.',
      },
    });
    const [key] = created.credentials.keys;
    expect(Object.keys(key?.publicJwk ?? {}).sort()).toEqual(['crv', 'kid', 'kty', 'x']);

    const verified = await verify(created.id);
    expect(verified).toMatchObject({
      version: 1,
      credentialsHash: created.credentialsHash,
      credentials: { keys: [{ ...key, state: 'ACTIVE' }] },
      verification: { status: 'VERIFIED', checkedAt: expect.any(String), message: null },
    });
    expect(isSignedWith(key?.publicJwk, '1 2')).toBe(true);
  });

  test('has a key of its own, which nobody else has', async () => {
    const [one, other] = [
      await create({ shelves: ['1'] }),
      await create({ shelves: ['1'] }, { name: 'other' }),
    ];
    expect(one.credentials.keys[0]?.keyId).not.toBe(other.credentials.keys[0]?.keyId);
    expect(one.credentialsHash).not.toBe(other.credentialsHash);
  });

  test('cannot be used before it is verified, and the error says what to do', async () => {
    const { id } = await create({ shelves: ['1'] });
    const requestsBefore = depot.requests.length;
    const proxy = `/${id}/proxy/shelves/1/parcels`;
    expect(await rest('GET', proxy)).toMatchObject({
      status: 409,
      body: {
        code: 'CONNECTION_PENDING',
        detail: 'Nothing was sent to Parcel Depot. The depot does not know the key yet.',
        remedy: 'Hang the key on the gate.',
      },
    });
    expect(depot.requests).toHaveLength(requestsBefore);
    await verify(id);
    expect(await rest('GET', proxy)).toMatchObject({ status: 200 });
  });

  test('keeps its key when public fields change, and stays PENDING until it was verified once', async () => {
    const created = await create({ shelves: ['1'] });
    const requestsBefore = depot.requests.length;
    const changed = await update(created.id, { credentials: { shelves: ['7'] } });
    expect(changed).toMatchObject({
      version: 2,
      credentials: { shelves: ['7'], keys: created.credentials.keys },
      verification: { status: 'PENDING' },
    });
    expect(depot.requests).toHaveLength(requestsBefore);

    depot.behave((_, response) => response.writeHead(401).end());
    expect(await verify(created.id)).toMatchObject({ verification: { status: 'REJECTED' } });
    const corrected = await update(created.id, { credentials: { shelves: ['8'] } });
    expect(corrected).toMatchObject({ version: 3, verification: { status: 'PENDING', code: null } });

    depot.behave(fakeParcelDepot);
    expect(await verify(created.id)).toMatchObject({ verification: { status: 'VERIFIED' } });
    depot.behave((_, response) => response.writeHead(401).end());
    const [error] = await errorsOf(update(created.id, { credentials: { shelves: ['9'] } }));
    expect(error?.extensions.code).toBe('CREDENTIALS_REJECTED');
    depot.behave(fakeParcelDepot);
    const last = await update(created.id, { credentials: { shelves: ['9'] } });
    expect(last).toMatchObject({ version: 4, verification: { status: 'VERIFIED' } });
    expect(isSignedWith(created.credentials.keys[0]?.publicJwk, '9')).toBe(true);
  });

  test('is rotated when the app accepts the new key, and keeps the old one until then', async () => {
    const { id } = await create({ shelves: ['1'] });
    await verify(id);
    const rotate = async () => {
      const { rotateParcelDepotConnectionKey } = await organisation.client.request<{
        rotateParcelDepotConnectionKey: { appConnection: Connection };
      }>(
        gql`
          mutation ($id: UUID!) {
            rotateParcelDepotConnectionKey(id: $id) { appConnection { ...Fields } }
          }
          ${fields}
        `,
        { id },
      );
      return rotateParcelDepotConnectionKey.appConnection;
    };
    depot.behave((_, response) => response.writeHead(401).end());
    const rotated = await rotate();
    const [oldKey, newKey] = rotated.credentials.keys;
    expect([oldKey?.state, newKey?.state]).toEqual(['ACTIVE', 'PENDING']);
    expect(rotated.verification.status).toBe('VERIFIED');
    depot.behave(fakeParcelDepot);
    const { credentials } = await verify(id);
    expect(credentials.keys).toEqual([
      { ...oldKey, state: 'RETIRED' },
      { ...newKey, state: 'ACTIVE' },
    ]);
    expect(isSignedWith(newKey?.publicJwk, '1')).toBe(true);
    expect(depot.requests.every(({ headers }) => !headers.authorization?.includes('PRIVATE KEY'))).toBe(true);
  });

  test('refuses a key or a key id of the caller, and does not lose its own when null is sent', async () => {
    const created = await create({ shelves: ['1'] });
    const [error] = await errorsOf(
      update(created.id, { credentials: { depotKey: newKey(), depotKeyName: 'mine' } }),
    );
    expect(error?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [
        { path: ['input', 'credentials', 'depotKey'], message: expect.stringContaining('cannot be set') },
        { path: ['input', 'credentials', 'depotKeyName'] },
      ],
    });
    const same = await update(created.id, { credentials: { depotKey: null, depotKeyName: null } });
    expect(same).toEqual(created);
  });

  test('refuses the id of a key without the key', async () => {
    const [error] = await errorsOf(create({ shelves: ['1'], depotKeyName: 'mine' }));
    expect(error?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [{ path: ['input', 'credentials', 'depotKeyName'] }],
    });
  });

  test('is returned by a repeated create, with the same key', async () => {
    const once = { idempotencyKey: 'create-once' };
    const created = await create({ shelves: ['1'] }, once);
    expect(await create({ shelves: ['1'] }, once)).toEqual(created);
  });

  test('is listed by its status, deleted and restored with its key', async () => {
    const created = await create({ shelves: ['1'] });
    const list = gql`{ appConnections(filter: { status: PENDING }) { nodes { ...Fields } } } ${fields}`;
    expect(await organisation.client.request(list)).toEqual({ appConnections: { nodes: [created] } });
    await organisation.client.request(
      'mutation ($id: UUID!) { deleteAppConnection(id: $id) { id } }',
      created,
    );
    const { restoreAppConnection } = await organisation.client.request<{
      restoreAppConnection: { appConnection: Connection };
    }>(
      gql`mutation ($id: UUID!) { restoreAppConnection(id: $id) { appConnection { ...Fields } } } ${fields}`,
      { id: created.id },
    );
    expect(restoreAppConnection.appConnection.credentials).toEqual(created.credentials);
  });

  test('is created, shown, changed and verified over REST', async () => {
    const body = { name: 'my-depot', method: 'key-pair', credentials: { shelves: ['2', '1'] } };
    const created = await rest('POST', '', body);
    const shown = {
      method: 'key-pair',
      isPlatformManagedCredentials: true,
      credentials: {
        shelves: ['1', '2'],
        keys: [
          {
            keyId: expect.any(String),
            publicJwk: { kty: 'OKP' },
            createdAt: expect.any(String),
            state: 'PENDING',
          },
        ],
        jwksUrl: expect.stringContaining('/jwks.json'),
      },
    };
    expect(created).toMatchObject({ status: 200, body: { appConnection: shown } });
    const { id } = (created.body as { appConnection: Connection }).appConnection;
    expect(await rest('GET', `/${id}/verification`)).toMatchObject({
      body: { verification: { status: 'PENDING', checkedAt: null, code: null } },
    });
    expect(await rest('POST', `/${id}/verify`)).toMatchObject({
      body: { verification: { status: 'VERIFIED' } },
    });
    expect(await rest('PATCH', `/${id}`, { credentials: { shelves: ['3'] } })).toMatchObject({
      body: { appConnection: { credentials: { shelves: ['3'], keys: [{ state: 'ACTIVE' }] } } },
    });
    expect(await rest('PATCH', `/${id}`, { credentials: { depotKey: newKey() } })).toMatchObject({
      status: 422,
      body: { code: 'BAD_USER_INPUT', issues: [{ path: ['credentials', 'depotKey'] }] },
    });
  });

  test('has nothing to validate before it exists', async () => {
    const requestsBefore = depot.requests.length;
    const body = { method: 'key-pair', credentials: { shelves: ['1'] } };
    expect(await rest('POST', '/validate', body)).toMatchObject({
      status: 200,
      body: {
        validation: { status: 'PENDING', code: null, message: 'The depot does not know the key yet.' },
      },
    });
    expect(depot.requests).toHaveLength(requestsBefore);
  });
});

describe('a connection with a key pair of the caller', () => {
  test('is verified at once, and shows the public part of the key', async () => {
    const created = await create({ shelves: ['1'], depotKey: newKey(), depotKeyName: 'mine' });
    expect(created).toMatchObject({
      isPlatformManagedCredentials: false,
      credentials: { depotKeyName: 'mine', keys: [{ keyId: 'mine', state: 'ACTIVE' }] },
      verification: { status: 'VERIFIED' },
    });
    expect(isSignedWith(created.credentials.keys[0]?.publicJwk, '1')).toBe(true);
  });

  test('changes to another key when the app accepts it, and keeps its key otherwise', async () => {
    const created = await create({ shelves: ['1'], depotKey: newKey() });
    depot.behave((_, response) => response.writeHead(401).end());
    const [refused] = await errorsOf(update(created.id, { credentials: { depotKey: newKey() } }));
    expect(refused?.extensions.code).toBe('CREDENTIALS_REJECTED');
    depot.behave(fakeParcelDepot);
    await verify(created.id);
    expect(isSignedWith(created.credentials.keys[0]?.publicJwk, '1')).toBe(true);
    const changed = await update(created.id, { credentials: { depotKey: newKey(), depotKeyName: 'second' } });
    expect(changed.credentials.keys).toMatchObject([{ keyId: 'second', state: 'ACTIVE' }]);
    expect(isSignedWith(changed.credentials.keys[0]?.publicJwk, '1')).toBe(true);
  });

  test('refuses a key that cannot be used, and to lose its key, with the reason', async () => {
    const [unusable] = await errorsOf(create({ shelves: ['1'], depotKey: 'not-a-key-at-all' }));
    expect(unusable?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [{ path: ['input', 'credentials', 'depotKey'], message: 'This is no key of the depot.' }],
    });
    const created = await create({ shelves: ['1'], depotKey: newKey() });
    const [lost] = await errorsOf(update(created.id, { credentials: { depotKey: null } }));
    expect(lost?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [{ path: ['input', 'credentials', 'depotKey'] }],
    });
  });

  test('refuses lists with a member that breaks a rule, by its place', async () => {
    const [error] = await errorsOf(create({ shelves: ['1', 'x'] }));
    expect(error?.extensions.issues).toMatchObject([
      { path: ['input', 'credentials', 'shelves', 1], message: 'A shelf is a number.' },
    ]);
  });
});
