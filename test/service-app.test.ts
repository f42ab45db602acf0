import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let server: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());
beforeEach(async () => {
  organisation = await server.newOrganisation();
});

interface Connection {
  id: string;
  version: number;
  method: string;
  isPlatformManagedCredentials: boolean;
  credentials: {
    __typename: string;
    instanceUrl: string;
    clientId: string;
    scopes: string[];
    keyId: string | null;
    keys: { keyId: string; publicJwk: Record<string, string>; state: string }[];
    jwksUrl: string;
  };
  verification: Record<string, string | null>;
}

const fields = gql`
  fragment Fields on AppConnection {
    id version method isPlatformManagedCredentials
    credentials {
      __typename instanceUrl
      ... on OktaServiceAppCredentials { clientId scopes keyId keys { keyId publicJwk state } jwksUrl }
    }
    verification { status checkedAt code message remedy oktaRequestId }
  }
`;
const createMutation = gql`
  mutation ($input: CreateOktaConnectionInput!) {
    createOktaConnection(input: $input) { appConnection { ...Fields } }
  }
  ${fields}
`;
const updateMutation = gql`
  mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
    updateOktaConnection(id: $id, input: $input) { appConnection { ...Fields } }
  }
  ${fields}
`;
const verifyMutation = gql`
  mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { ...Fields } } }
  ${fields}
`;

const clientId = '0oa1ab2cd3EF4GH5i0d7';
const scopes = ['okta.users.read', 'okta.groups.read'];

const serviceApp = (credentials: object = {}, rest: object = {}) => ({
  name: 'my-service-app',
  method: 'SERVICE_APP',
  credentials: { instanceUrl: 'https://example.okta.com', clientId, scopes, ...credentials },
  ...rest,
});

async function create(...given: Parameters<typeof serviceApp>): Promise<Connection> {
  const { createOktaConnection } = await organisation.client.request<{
    createOktaConnection: { appConnection: Connection };
  }>(createMutation, { input: serviceApp(...given) });
  return createOktaConnection.appConnection;
}

async function update(id: string, credentials: object): Promise<Connection> {
  const { updateOktaConnection } = await organisation.client.request<{
    updateOktaConnection: { appConnection: Connection };
  }>(updateMutation, { id, input: { credentials } });
  return updateOktaConnection.appConnection;
}

async function verify(id: string): Promise<Connection> {
  const { verifyAppConnection } = await organisation.client.request<{
    verifyAppConnection: { appConnection: Connection };
  }>(verifyMutation, { id });
  return verifyAppConnection.appConnection;
}

async function rest(method: string, path: string, body?: object): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${server.url}/api/v1/app-connections/okta${path}`, {
    method,
    headers: {
      authorization: `Bearer ${organisation.apiKey}`,
      ...(body && { 'content-type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: JSON.parse(await response.text()) };
}

const ecKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const rsaKey = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
const pem = (key: KeyObject, type: 'pkcs1' | 'pkcs8' | 'sec1' = 'pkcs8') =>
  key.export({ format: 'pem', type } as { format: 'pem'; type: 'pkcs8' }).toString();
const jwk = (key: KeyObject, members: object = {}) =>
  JSON.stringify({ ...key.export({ format: 'jwk' }), ...members });

describe('a service app whose key this server makes', () => {
  test('is created as PENDING, verified with a token, and used through the proxy and typed reads', async () => {
    const created = await create();
    expect(created).toMatchObject({
      method: 'SERVICE_APP',
      isPlatformManagedCredentials: true,
      credentials: {
        __typename: 'OktaServiceAppCredentials',
        instanceUrl: 'https://example.okta.com',
        clientId,
        scopes: ['okta.groups.read', 'okta.users.read'],
        keyId: null,
        keys: [{ publicJwk: { kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' }, state: 'PENDING' }],
      },
      verification: {
        status: 'PENDING',
        checkedAt: null,
        code: null,
        message: 'Okta does not know the key of this connection yet.',
        remedy: expect.stringContaining('Use a URL to fetch keys dynamically'),
      },
    });
    const [key] = created.credentials.keys;
    expect(key?.keyId).toMatch(/^[\w-]{43}$/);
    expect(key?.publicJwk.kid).toBe(key?.keyId);
    expect(await (await fetch(created.credentials.jwksUrl)).json()).toEqual({ keys: [key?.publicJwk] });

    const users = `/${created.id}/proxy/api/v1/users?limit=1`;
    expect(await rest('GET', users)).toMatchObject({ status: 409, body: { code: 'CONNECTION_PENDING' } });

    expect(await verify(created.id)).toMatchObject({
      version: 1,
      credentials: { keys: [{ keyId: key?.keyId, state: 'ACTIVE' }] },
      verification: { status: 'VERIFIED', code: null, oktaRequestId: expect.any(String) },
    });
    expect(await rest('GET', users)).toMatchObject({
      status: 200,
      body: [{ profile: { login: 'ada.admin@example.com' } }],
    });
    const read = gql`query ($id: UUID!) { oktaGroups(connectionId: $id, first: 2) { nodes { id } } }`;
    expect(await organisation.client.request(read, { id: created.id })).toMatchObject({
      oktaGroups: { nodes: [{}, {}] },
    });
    expect(await rest('GET', `/${created.id}/proxy/api/v1/apps`)).toMatchObject({
      status: 403,
      body: { errorCode: 'E0000006' },
    });
  });

  test('changes its scopes and its client, and keeps its key', async () => {
    const created = await create();
    await verify(created.id);
    const changed = await update(created.id, { scopes: ['okta.apps.read'] });
    expect(changed).toMatchObject({
      version: 2,
      credentials: { scopes: ['okta.apps.read'], keys: [{ keyId: created.credentials.keys[0]?.keyId }] },
      verification: { status: 'VERIFIED' },
    });
    expect(await rest('GET', `/${created.id}/proxy/api/v1/apps`)).toMatchObject({ status: 200 });
    const [refused] = await errorsOf(update(created.id, { clientId: '0oaunknown0000000001' }));
    expect(refused?.extensions.code).toBe('CREDENTIALS_REJECTED');
    expect(await rest('GET', `/${created.id}/proxy/api/v1/apps`)).toMatchObject({ status: 200 });
  });

  test('refuses a key of the caller, and says why', async () => {
    const { id } = await create();
    const [error] = await errorsOf(update(id, { privateKey: pem(ecKey()), keyId: 'mine' }));
    expect(error?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [
        {
          path: ['input', 'credentials', 'privateKey'],
          message: expect.stringContaining('so that nobody ever has it'),
        },
        { path: ['input', 'credentials', 'keyId'] },
      ],
    });
  });

  test.each([
    ['0oaunknown0000000001', 'CREDENTIALS_REJECTED', 'Okta knows no app with this client id.'],
    [
      '0oaungranted00000001',
      'INSUFFICIENT_PERMISSIONS',
      'not granted to the app: okta.groups.read, okta.users.read',
    ],
    ['0oadenied00000000001', 'INSUFFICIENT_PERMISSIONS', 'denied'],
  ])('is REJECTED with a diagnosis when Okta refuses the token: %s', async (client, code, message) => {
    const { id } = await create({ clientId: client });
    expect(await verify(id)).toMatchObject({
      verification: { status: 'REJECTED', code, message: expect.stringContaining(message) },
    });
    expect(await rest('GET', `/${id}/proxy/api/v1/users`)).toMatchObject({ status: 422, body: { code } });
  });
});

describe('a service app with a key of the caller', () => {
  test.each<[string, () => string, string]>([
    ['an RSA key as PKCS#8', () => pem(rsaKey), 'RS256'],
    ['an RSA key as PKCS#1', () => pem(rsaKey, 'pkcs1'), 'RS256'],
    ['a P-256 key as SEC1', () => pem(ecKey(), 'sec1'), 'ES256'],
    ['a PEM text with escaped line breaks', () => pem(ecKey()).replaceAll('\n', '\\n'), 'ES256'],
    ['a private JWK', () => jwk(rsaKey), 'RS256'],
  ])('is verified at once with %s', async (_, given, alg) => {
    expect(await create({ privateKey: given() })).toMatchObject({
      isPlatformManagedCredentials: false,
      credentials: { keyId: null, keys: [{ publicJwk: { alg }, state: 'ACTIVE' }] },
      verification: { status: 'VERIFIED' },
    });
  });

  test('uses the key id of the caller, that of the JWK, or the thumbprint, in this order', async () => {
    const key = ecKey();
    const keyIdOf = async (credentials: object, name: string) => {
      const { id, credentials: shown } = await create(credentials, { name });
      return { id, keyId: shown.keys[0]?.keyId };
    };
    const thumbprint = (await keyIdOf({ privateKey: pem(key) }, 'one')).keyId;
    expect(thumbprint).toMatch(/^[\w-]{43}$/);
    expect((await keyIdOf({ privateKey: jwk(key, { kid: 'of-okta' }) }, 'two')).keyId).toBe('of-okta');
    const { id, keyId } = await keyIdOf({ privateKey: jwk(key, { kid: 'of-okta' }), keyId: 'mine' }, 'three');
    expect(keyId).toBe('mine');
    expect(await update(id, { keyId: null })).toMatchObject({
      credentials: { keyId: null, keys: [{ keyId: 'of-okta' }] },
    });
    expect(await update(id, { keyId: 'renamed' })).toMatchObject({
      credentials: { keyId: 'renamed', keys: [{ keyId: 'renamed', publicJwk: { kid: 'renamed' } }] },
      verification: { status: 'VERIFIED' },
    });
  });

  test('needs the key again for another host', async () => {
    const { id } = await create({ privateKey: pem(ecKey()) });
    const [error] = await errorsOf(update(id, { instanceUrl: 'https://elsewhere.okta.com' }));
    expect(error?.extensions.issues).toMatchObject([
      { path: ['input', 'credentials', 'privateKey'], message: expect.stringContaining('new host') },
    ]);
  });
});

describe('the fields of a service app', () => {
  const small = generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey;
  const encrypted = ecKey()
    .export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' })
    .toString();
  const publicPem = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .publicKey.export({ format: 'pem', type: 'spki' })
    .toString();

  test.each<[string, object, (string | number)[], RegExp]>([
    [
      'a key without a client id',
      { clientId: null, privateKey: pem(rsaKey) },
      ['clientId'],
      /Give the client id/,
    ],
    ['the id of a user', { clientId: '00u1ab2cd3EF4GH5i0d7' }, ['clientId'], /another object/],
    ['an address as client id', { clientId: 'https://example.okta.com' }, ['clientId'], /address/],
    ['an email address as client id', { clientId: 'ada@example.com' }, ['clientId'], /email/],
    ['a client id with spaces', { clientId: '0oa1ab 2cd3' }, ['clientId'], /spaces/],
    ['no scopes', { scopes: null }, ['scopes'], /as a list/],
    ['an empty list of scopes', { scopes: [] }, ['scopes'], /at least one scope/],
    ['several scopes in one text', { scopes: ['okta.users.read okta.apps.read'] }, ['scopes', 0], /several/],
    ['scopes with a comma', { scopes: ['okta.users.read,okta.apps.read'] }, ['scopes', 0], /several/],
    ['a scope twice', { scopes: ['okta.users.read', 'okta.users.read'] }, ['scopes', 1], /twice/],
    ['a scope of people', { scopes: ['okta.users.read', 'openid'] }, ['scopes', 1], /people/],
    ['an incomplete scope', { scopes: ['okta.users'] }, ['scopes', 0], /incomplete/],
    ['a scope of something else', { scopes: ['users:read'] }, ['scopes', 0], /looks like okta\.users\.read/],
    ['a quoted scope', { scopes: ['"okta.users.read"'] }, ['scopes', 0], /quotation marks/],
    ['an encrypted key', { privateKey: encrypted }, ['privateKey'], /encrypted/],
    ['a public key', { privateKey: publicPem }, ['privateKey'], /public key/],
    ['a small RSA key', { privateKey: pem(small) }, ['privateKey'], /too weak/],
    ['no key at all', { privateKey: 'hunter2' }, ['privateKey'], /not a private key/],
    ['a key id with spaces', { privateKey: pem(rsaKey), keyId: 'my key' }, ['keyId'], /no spaces/],
    ['a JWK as key id', { privateKey: pem(rsaKey), keyId: jwk(ecKey()) }, ['keyId'], /not its id/],
    [
      'a key without its first line as key id',
      { privateKey: pem(rsaKey), keyId: ecKey().export({ format: 'der', type: 'pkcs8' }).toString('base64') },
      ['keyId'],
      /not its id/,
    ],
    ['a key id without a key', { keyId: 'mine' }, ['keyId'], /private key of your own/],
    ['an API token', { apiToken: 'a-good-token' }, ['apiToken'], /has no such field/],
  ])('are refused with a message that names the remedy: %s', async (_, credentials, path, message) => {
    const [error] = await errorsOf(create(credentials));
    expect(error?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [{ path: ['input', 'credentials', ...path], message: expect.stringMatching(message) }],
    });
  });

  test('report every broken rule at once', async () => {
    const [error] = await errorsOf(
      create({ clientId: '', scopes: ['x', 'okta.users.read'], privateKey: 'no', instanceUrl: 'x' }),
    );
    const paths = error?.extensions.issues?.map(({ path }) => path.slice(2).join('.')) ?? [];
    expect(paths.sort()).toEqual(['clientId', 'instanceUrl', 'privateKey', 'scopes.0']);
  });

  test('are those of an API token if the method is not named', async () => {
    const input = { ...serviceApp(), method: undefined };
    const [error] = await errorsOf(organisation.client.request(createMutation, { input }));
    const paths = error?.extensions.issues?.map(({ path }) => path.slice(2).join('.')) ?? [];
    expect(paths.sort()).toEqual(['apiToken', 'clientId', 'scopes']);
  });

  test('are validated without being stored', async () => {
    const validate = gql`
      mutation ($credentials: OktaCredentialsInput!) {
        validateOktaCredentials(method: SERVICE_APP, credentials: $credentials) { status code message }
      }
    `;
    const check = async (credentials: object) => {
      const { validateOktaCredentials } = await organisation.client.request<{
        validateOktaCredentials: object;
      }>(validate, { credentials: { ...serviceApp().credentials, ...credentials } });
      return validateOktaCredentials;
    };
    expect(await check({})).toMatchObject({ status: 'PENDING', code: null });
    expect(await check({ privateKey: pem(rsaKey) })).toMatchObject({ status: 'VERIFIED' });
    expect(await check({ privateKey: pem(rsaKey), clientId: '0oaunknown0000000001' })).toMatchObject({
      status: 'REJECTED',
      code: 'CREDENTIALS_REJECTED',
    });
  });
});

describe('service apps over REST', () => {
  test('are created, shown, changed and verified', async () => {
    const body = { ...serviceApp(), method: 'service-app' };
    const created = await rest('POST', '', body);
    expect(created).toMatchObject({
      status: 200,
      body: {
        appConnection: {
          app: 'okta',
          method: 'service-app',
          isPlatformManagedCredentials: true,
          credentials: {
            instanceUrl: 'https://example.okta.com',
            clientId,
            scopes: ['okta.groups.read', 'okta.users.read'],
            keys: [{ state: 'PENDING', publicJwk: { kty: 'EC' } }],
            jwksUrl: expect.stringContaining('/jwks.json'),
          },
        },
      },
    });
    const { id } = (created.body as { appConnection: Connection }).appConnection;
    expect(await rest('POST', `/${id}/verify`)).toMatchObject({
      body: { verification: { status: 'VERIFIED' } },
    });
    expect(await rest('GET', '?method=service-app&status=VERIFIED')).toMatchObject({
      body: { appConnections: [{ id }] },
    });
    expect(await rest('PATCH', `/${id}`, { credentials: { scopes: ['okta.logs.read'] } })).toMatchObject({
      body: { appConnection: { version: 2, credentials: { scopes: ['okta.logs.read'] } } },
    });
    expect(
      await rest('POST', '', {
        ...body,
        name: 'x',
        credentials: { ...body.credentials, scopes: 'okta.users.read' },
      }),
    ).toMatchObject({
      status: 422,
      body: { issues: [{ path: ['credentials', 'scopes'], message: expect.stringContaining('as a list') }] },
    });
  });
});

test('keys of service apps are in no log, response, audit event or row, in any encoding', async () => {
  const key = ecKey();
  const texts = [pem(key), jwk(key), pem(key).replaceAll('\n', '\\n')];
  const answers: string[] = [];
  const send = async (input: object) =>
    answers.push(
      await (
        await fetch(server.graphqlUrl, {
          method: 'POST',
          headers: { 'content-type': 'application/json', authorization: `Bearer ${organisation.apiKey}` },
          body: JSON.stringify({ query: createMutation, variables: { input } }),
        })
      ).text(),
    );
  for (const [index, privateKey] of texts.entries()) {
    await send(serviceApp({ privateKey }, { name: `with-key-${index}`, idempotencyKey: `once-${index}` }));
    for (const wrong of [
      { clientId: privateKey },
      { scopes: [privateKey], privateKey },
      { keyId: privateKey },
      { instanceUrl: privateKey },
      { apiToken: privateKey },
    ])
      await send(serviceApp(wrong, { name: 'wrong' }));
    await send(serviceApp({ privateKey }, { name: privateKey }));
    await send(serviceApp({ privateKey }, { name: 'described', description: privateKey }));
    answers.push(
      JSON.stringify(await rest('POST', '', { ...serviceApp({ keyId: privateKey }), method: 'service-app' })),
    );
  }
  await send(serviceApp({}, { name: 'managed' }));
  const { d } = key.export({ format: 'jwk' });
  const scalar = Buffer.from(d ?? '', 'base64url');
  const der = key.export({ format: 'der', type: 'pkcs8' });
  const forms = [
    ...(['base64url', 'base64', 'hex'] as const).map((encoding) =>
      scalar.toString(encoding).replace(/=+$/, ''),
    ),
    der.toString('hex'),
    // The PEM text is base64 in lines of 64 characters.
    ...(der.toString('base64').match(/.{40}/g) ?? []).slice(1, 3),
  ];
  const places = { answers: answers.join('\n'), dump: await server.dump(), logs: server.logs() };
  expect(places.answers).toContain('"isPlatformManagedCredentials":true');
  expect(places.dump).toContain('with-key-0');
  for (const [place, text] of Object.entries(places)) {
    for (const form of forms) expect([place, text.includes(form)]).toEqual([place, false]);
    expect([place, /"d":/.test(text)]).toEqual([place, false]);
  }
});
