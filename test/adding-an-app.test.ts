import {
  buildClientSchema,
  getIntrospectionQuery,
  type IntrospectionQuery,
  isEnumType,
  lexicographicSortSchema,
  printType,
} from 'graphql';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { type Behaviour, startOkta, type TestOkta } from './testkit/okta.ts';
import { type Created, createMutation, okta } from './testkit/operations.ts';
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
});

interface Depot {
  id: string;
  name: string;
  app: string;
  method: string;
  version: number;
  credentialsHash: string;
  credentials: Record<string, string | null>;
  verification: Record<string, string | null>;
}

const fields = gql`
  fragment Fields on AppConnection {
    id name app method version credentialsHash
    credentials { __typename instanceUrl ... on ParcelDepotCredentials { clientId region } }
    verification { status code parcelDepotRequestId oktaRequestId }
  }
`;
const createDepot = gql`
  mutation ($input: CreateParcelDepotConnectionInput!) {
    createParcelDepotConnection(input: $input) { appConnection { ...Fields } }
  }
  ${fields}
`;
const updateDepot = gql`
  mutation ($id: UUID!, $input: UpdateParcelDepotConnectionInput!) {
    updateParcelDepotConnection(id: $id, input: $input) { appConnection { ...Fields } }
  }
  ${fields}
`;
const readDepot = gql`
  query ($id: UUID!) { appConnection(id: $id) { ...Fields } }
  ${fields}
`;
const listDepots = gql`query ($app: App) { appConnections(app: $app) { nodes { name app } } }`;
const remove = gql`mutation ($id: UUID!) { deleteAppConnection(id: $id) { id } }`;
const verify = gql`
  mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { ...Fields } } }
  ${fields}
`;
const restore = gql`
  mutation ($id: UUID!) { restoreAppConnection(id: $id) { appConnection { ...Fields } } }
  ${fields}
`;

const signed = { clientId: 'c-12345', clientSecret: 'the-client-secret', signingKey: 'the-signing-key' };

function signedRequests(credentials: object = {}, differing: object = {}) {
  return {
    name: 'my-depot',
    method: 'SIGNED_REQUESTS',
    credentials: { ...signed, ...credentials },
    ...differing,
  };
}

function token(credentials: object = {}, differing: object = {}) {
  return {
    name: 'my-token',
    method: 'API_TOKEN',
    credentials: { instanceUrl: `${depot.origin}/gate`, apiToken: 'the-depot-token', ...credentials },
    ...differing,
  };
}

async function create(input: object): Promise<Depot> {
  const { createParcelDepotConnection } = await organisation.client.request<{
    createParcelDepotConnection: { appConnection: Depot };
  }>(createDepot, { input });
  return createParcelDepotConnection.appConnection;
}

async function update(id: string, input: object): Promise<Depot> {
  const { updateParcelDepotConnection } = await organisation.client.request<{
    updateParcelDepotConnection: { appConnection: Depot };
  }>(updateDepot, { id, input });
  return updateParcelDepotConnection.appConnection;
}

async function read(id: string): Promise<Depot> {
  const { appConnection } = await organisation.client.request<{ appConnection: Depot }>(readDepot, { id });
  return appConnection;
}

/** Returns the credentials in the last request to the depot. */
function shown(): Record<string, string> {
  return JSON.parse(depot.requests.at(-1)?.headers.authorization ?? '{}');
}

describe('schema with a second app', () => {
  const fetchSchema = async ({ graphqlUrl }: TestServer) => {
    const response = await fetch(graphqlUrl, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: getIntrospectionQuery() }),
    });
    const { data }: { data: IntrospectionQuery } = JSON.parse(await response.text());
    // The order of types, fields and values has no meaning.
    return lexicographicSortSchema(buildClientSchema(data));
  };

  test('describes Okta as before, and lists the second app', async () => {
    const alone = await startTestServer();
    const [before, after] = [await fetchSchema(alone), await fetchSchema(server)];
    await alone.close();
    // Descriptions of a value that several apps share are prefixed with the name of the app.
    const lines = (text: string) => text.split('\n').map((line) => line.trim().replace(/^Okta: /, ''));
    for (const type of Object.values(before.getTypeMap())) {
      const now = after.getType(type.name);
      if (!now) throw new Error(`${type.name} is gone`);
      if (
        [
          'App',
          'AppConnectionMethod',
          'Mutation',
          'Query',
          'ConnectionVerification',
          'UsePolicyPreset',
        ].includes(type.name)
      ) {
        expect(lines(printType(now))).toEqual(expect.arrayContaining(lines(printType(type))));
      } else expect(printType(now)).toBe(printType(type));
    }
    const added = Object.keys(after.getTypeMap()).filter((name) => !before.getType(name));
    expect(added.sort()).toEqual([
      'CreateParcelDepotConnectionInput',
      'CreateParcelDepotConnectionPayload',
      'ExecuteParcelDepotRequestInput',
      'ParcelDepotCredentials',
      'ParcelDepotCredentialsInput',
      'ParcelDepotKeyPairCredentials',
      'ParcelDepotParcel',
      'ParcelDepotParcelEdge',
      'ParcelDepotParcelLabels',
      'ParcelDepotParcelPage',
      'ParcelDepotResponse',
      'RotateParcelDepotConnectionKeyPayload',
      'UpdateParcelDepotConnectionInput',
      'UpdateParcelDepotConnectionPayload',
      'UpdateParcelDepotCredentialsInput',
      'ValidateParcelDepotCredentialsPayload',
    ]);
  });

  test('exposes apps and methods as enum values and a description for each app', async () => {
    const schema = await fetchSchema(server);
    const enumValues = (name: string) => {
      const type = schema.getType(name);
      return isEnumType(type) ? type.getValues() : [];
    };
    expect(enumValues('App').map(({ name }) => name)).toEqual(['OKTA', 'PARCEL_DEPOT']);
    expect(enumValues('AppConnectionMethod').map(({ name }) => name)).toEqual([
      'API_TOKEN',
      'KEY_PAIR',
      'SERVICE_APP',
      'SIGNED_REQUESTS',
    ]);
    const [shared] = enumValues('AppConnectionMethod');
    expect(shared?.description).toMatch(/Okta: An API token.*Parcel Depot: A token for one depot/s);
  });

  test('requires the common input fields and exposes secrets only in inputs', async () => {
    const schema = await fetchSchema(server);
    const print = (name: string) => {
      const type = schema.getType(name);
      return type ? printType(type).replace(/^ *""".*?"""\n/gms, '') : '';
    };
    expect(print('ParcelDepotCredentialsInput').match(/\w+: .*/g)).toEqual([
      ...['apiToken: Secret', 'clientId: String', 'clientSecret: Secret', 'depotKey: Secret'],
      ...['depotKeyName: String', 'instanceUrl: String', 'passphrase: Secret', 'region: String'],
      ...['shelves: [String!]', 'signingKey: Secret'],
    ]);
    expect(print('ParcelDepotCredentials')).not.toMatch(/secret|key|passphrase|token/i);
    // An app with several methods has no default method.
    expect(print('CreateParcelDepotConnectionInput')).toMatch(/method: AppConnectionMethod!$/m);
    expect(print('CreateOktaConnectionInput')).toMatch(/method: AppConnectionMethod! = API_TOKEN$/m);
    expect(print('UpdateParcelDepotConnectionInput')).not.toMatch(/allow/);
  });

  test('describes the form fields of each method of an app', async () => {
    const { appConnectionOptions } = await organisation.client.request<{ appConnectionOptions: object[] }>(
      '{ appConnectionOptions { app name methods { method label fields { name kind required secret } } } }',
    );
    expect(appConnectionOptions).toHaveLength(2);
    expect(appConnectionOptions[1]).toEqual({
      app: 'PARCEL_DEPOT',
      name: 'Parcel Depot',
      methods: [
        {
          method: 'SIGNED_REQUESTS',
          label: 'Signed requests',
          fields: [
            { name: 'clientId', kind: 'TEXT', required: true, secret: false },
            { name: 'clientSecret', kind: 'SECRET', required: true, secret: true },
            { name: 'signingKey', kind: 'SECRET', required: true, secret: true },
            { name: 'passphrase', kind: 'SECRET', required: false, secret: true },
            { name: 'region', kind: 'TEXT', required: false, secret: false },
          ],
        },
        {
          method: 'API_TOKEN',
          label: 'Depot token',
          fields: [
            { name: 'instanceUrl', kind: 'URL', required: true, secret: false },
            { name: 'apiToken', kind: 'SECRET', required: true, secret: true },
            { name: 'region', kind: 'TEXT', required: false, secret: false },
          ],
        },
        {
          method: 'KEY_PAIR',
          label: 'Key pair',
          fields: [
            { name: 'shelves', kind: 'LIST', required: true, secret: false },
            { name: 'depotKey', kind: 'SECRET', required: false, secret: true },
            { name: 'depotKeyName', kind: 'TEXT', required: false, secret: false },
            { name: 'region', kind: 'TEXT', required: false, secret: false },
          ],
        },
      ],
    });
  });
});

describe('connection to a second app', () => {
  test('creates, normalizes, verifies and reads a connection with either method', async () => {
    const one = await create(signedRequests({ region: ' EU ' }));
    expect(one).toEqual({
      id: expect.any(String),
      name: 'my-depot',
      app: 'PARCEL_DEPOT',
      method: 'SIGNED_REQUESTS',
      version: 1,
      credentialsHash: expect.stringMatching(/^[0-9a-f]{64}$/),
      credentials: {
        __typename: 'ParcelDepotCredentials',
        instanceUrl: null,
        clientId: 'c-12345',
        region: 'eu',
      },
      verification: {
        status: 'VERIFIED',
        code: null,
        parcelDepotRequestId: 'depot-request-1',
        oktaRequestId: null,
      },
    });
    expect(shown()).toEqual({ ...signed, region: 'eu' });
    const other = await create(token());
    expect(other).toMatchObject({
      method: 'API_TOKEN',
      credentials: { instanceUrl: depot.origin, clientId: null, region: null },
    });
    expect(shown()).toEqual({ instanceUrl: depot.origin, apiToken: 'the-depot-token' });
    expect(await read(one.id)).toEqual(one);
    expect(await read(other.id)).toEqual(other);
  });

  test.each([
    [
      'missing fields',
      () => signedRequests({ clientSecret: undefined, clientId: null }),
      ['clientId', 'clientSecret'],
    ],
    [
      'invalid fields',
      () => signedRequests({ clientId: 'x', region: 'eu1', signingKey: '' }),
      ['clientId', 'signingKey', 'region'],
    ],
    [
      'missing fields of the other method',
      () => token({ instanceUrl: null, apiToken: null }),
      ['instanceUrl', 'apiToken'],
    ],
    [
      'fields of the other method',
      () => token({ clientSecret: 'of-no-use', clientId: 'c-1' }),
      ['clientId', 'clientSecret'],
    ],
  ])('rejects invalid credentials with every issue at once: %s', async (_, input, names) => {
    const requestsBefore = depot.requests.length;
    const [error] = await errorsOf(create({ ...input(), name: 'No Name' }));
    expect(error?.extensions.code).toBe('BAD_USER_INPUT');
    const paths = error?.extensions.issues?.map(({ path }) => path.join('.')) ?? [];
    expect(paths.sort()).toEqual([...names.map((name) => `input.credentials.${name}`), 'input.name'].sort());
    expect(JSON.stringify(error)).not.toContain('of-no-use');
    expect(depot.requests).toHaveLength(requestsBefore);
  });

  test('returns the diagnosis of the app and stores nothing when the app rejects the credentials', async () => {
    const [error] = await errorsOf(create(signedRequests({ signingKey: 'wrong' })));
    expect(error).toMatchObject({
      message: 'Parcel Depot does not know these credentials.',
      extensions: { code: 'CREDENTIALS_REJECTED', remedy: 'Ask at the gate.' },
    });
    expect(await organisation.client.request(listDepots)).toEqual({ appConnections: { nodes: [] } });
  });

  test('validates credentials without creating a connection', async () => {
    const validate = gql`
      mutation ($method: AppConnectionMethod!, $credentials: ParcelDepotCredentialsInput!) {
        validateParcelDepotCredentials(method: $method, credentials: $credentials) {
          status code parcelDepotRequestId
        }
      }
    `;
    const { method, credentials } = signedRequests({ clientSecret: 'wrong' });
    expect(await organisation.client.request(validate, { method, credentials })).toEqual({
      validateParcelDepotCredentials: {
        status: 'REJECTED',
        code: 'CREDENTIALS_REJECTED',
        parcelDepotRequestId: 'depot-request-1',
      },
    });
  });

  test('replaces one secret and keeps the others', async () => {
    const created = await create(signedRequests({ passphrase: 'the-passphrase', region: 'eu' }));
    const changed = await update(created.id, { credentials: { signingKey: 'a-second-key' } });
    expect(changed).toMatchObject({ version: 2, credentials: { clientId: 'c-12345', region: 'eu' } });
    expect(changed.credentialsHash).not.toBe(created.credentialsHash);
    const merged = { ...signed, signingKey: 'a-second-key', passphrase: 'the-passphrase', region: 'eu' };
    expect(shown()).toEqual(merged);

    const [refused] = await errorsOf(update(created.id, { credentials: { clientSecret: 'wrong' } }));
    expect(refused?.extensions.code).toBe('CREDENTIALS_REJECTED');
    expect(shown()).toEqual({ ...merged, clientSecret: 'wrong' });
    await organisation.client.request(verify, { id: created.id });
    expect(shown()).toEqual(merged);
  });

  test('clears optional credentials, and only those, when they are set to null', async () => {
    const created = await create(signedRequests({ passphrase: 'the-passphrase', region: 'eu' }));
    const nothing = { region: null, passphrase: null, clientSecret: null, clientId: null };
    const changed = await update(created.id, { credentials: nothing });
    expect(changed).toMatchObject({ version: 2, credentials: { clientId: 'c-12345', region: null } });
    expect(shown()).toEqual(signed);
    await organisation.client.request(verify, { id: created.id });
    expect(shown()).toEqual(signed);
    const requestsBefore = depot.requests.length;
    expect(await update(created.id, { credentials: nothing })).toMatchObject({ version: 2 });
    expect(depot.requests).toHaveLength(requestsBefore);
    const { auditEvents } = await organisation.client.request<{
      auditEvents: { nodes: { changedFields: string[] }[] };
    }>('{ auditEvents(filter: { action: UPDATE_CONNECTION }) { nodes { changedFields } } }');
    expect(auditEvents.nodes.map(({ changedFields }) => changedFields.sort())).toEqual([
      ['credentials.passphrase', 'credentials.region'],
    ]);
  });

  test('reads what the second app declares, with its paths, arguments and types', async () => {
    const { id } = await create(token());
    const requestsBefore = depot.requests.length;
    const parcels = gql`
      query ($id: UUID!) {
        parcelDepotParcels(connectionId: $id, shelf: "shelf one", fragileOnly: true, first: 12) {
          nodes { number grams isFragile labels { text } next { number grams next { number } } }
          edges { cursor }
          pageInfo { hasNextPage }
        }
      }
    `;
    expect(await organisation.client.request(parcels, { id })).toEqual({
      parcelDepotParcels: {
        nodes: [
          {
            ...{ number: 'p-1', grams: 5, isFragile: true, labels: [{ text: 'up' }] },
            next: { number: 'p-2', grams: null, next: null },
          },
        ],
        edges: [{ cursor: expect.any(String) }],
        pageInfo: { hasNextPage: false },
      },
    });
    expect(depot.requests.slice(requestsBefore).map(({ path }) => path)).toEqual([
      '/shelves/shelf%20one/parcels?fragileOnly=true&per_page=12',
      '/parcels/p-1/next',
      '/parcels/p-2/next',
    ]);
  });

  test('rejects credentials of another method', async () => {
    const created = await create(signedRequests());
    const requestsBefore = depot.requests.length;
    const [error] = await errorsOf(
      update(created.id, { credentials: { apiToken: 'of-no-use', instanceUrl: depot.origin, region: 'eu' } }),
    );
    expect(error?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [
        { path: ['input', 'credentials', 'instanceUrl'] },
        { path: ['input', 'credentials', 'apiToken'] },
      ],
    });
    expect(depot.requests).toHaveLength(requestsBefore);
  });

  test('keeps the secrets of concurrent updates separate', async () => {
    const created = await create(signedRequests());
    const waiting: (() => void)[] = [];
    const bothAreAsked = new Promise<void>((resolve) => {
      const hold: Behaviour = (request, response) => {
        waiting.push(() => fakeParcelDepot(request, response));
        if (waiting.length === 2) resolve();
      };
      depot.behave(hold);
    });
    const changes = Promise.allSettled([
      update(created.id, { credentials: { clientSecret: 'a-second-secret' } }),
      update(created.id, { credentials: { signingKey: 'a-second-key' } }),
    ]);
    await bothAreAsked;
    depot.behave(fakeParcelDepot);
    for (const answer of waiting) answer();
    const outcomes = await changes;
    const refused = outcomes.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    expect(refused).toHaveLength(1);
    expect(refused[0].response.errors[0].extensions).toMatchObject({
      code: 'VERSION_CONFLICT',
      currentVersion: 2,
    });
    await organisation.client.request(verify, { id: created.id });
    const [isFirst] = outcomes.map(({ status }) => status === 'fulfilled');
    expect(shown()).toEqual({
      ...signed,
      ...(isFirst ? { clientSecret: 'a-second-secret' } : { signingKey: 'a-second-key' }),
    });
  });

  test('requires the secret again when the host changes', async () => {
    await using elsewhere = await startOkta({ handler: fakeParcelDepot });
    trusted.add(elsewhere.hostPort);
    const created = await create(token());
    const [error] = await errorsOf(update(created.id, { credentials: { instanceUrl: elsewhere.origin } }));
    expect(error?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [{ path: ['input', 'credentials', 'apiToken'] }],
    });
    expect(elsewhere.requests).toHaveLength(0);
    const credentials = { instanceUrl: elsewhere.origin, apiToken: 'another-token' };
    expect(await update(created.id, { credentials })).toMatchObject({
      version: 2,
      credentials: { instanceUrl: elsewhere.origin },
    });
  });

  test('verifies, deletes, restores, lists by app and audits a connection', async () => {
    const created = await create(signedRequests());
    const { createOktaConnection } = await organisation.client.request<Created>(createMutation, okta());
    expect(createOktaConnection.appConnection.verification.oktaRequestId).toMatch(/./);
    const mixed = gql`query ($id: UUID!) { appConnection(id: $id) { verification { parcelDepotRequestId } } }`;
    expect(await organisation.client.request(mixed, { id: createOktaConnection.appConnection.id })).toEqual({
      appConnection: { verification: { parcelDepotRequestId: null } },
    });
    for (const [app, name] of [
      ['OKTA', 'my-okta-connection'],
      ['PARCEL_DEPOT', 'my-depot'],
    ]) {
      expect(await organisation.client.request(listDepots, { app })).toEqual({
        appConnections: { nodes: [{ name, app }] },
      });
    }
    depot.behave((_, response) => response.writeHead(401).end());
    expect(await organisation.client.request(verify, { id: created.id })).toMatchObject({
      verifyAppConnection: {
        appConnection: { verification: { status: 'REJECTED', code: 'CREDENTIALS_REJECTED' } },
      },
    });
    depot.behave(fakeParcelDepot);
    await organisation.client.request(remove, { id: created.id });
    expect((await errorsOf(read(created.id)))[0]?.extensions.code).toBe('NOT_FOUND');
    expect(await organisation.client.request(restore, { id: created.id })).toMatchObject({
      restoreAppConnection: { appConnection: { version: 3, credentials: { clientId: 'c-12345' } } },
    });
    const { auditEvents } = await organisation.client.request<{
      auditEvents: { nodes: { action: string; outcome: string }[] };
    }>('query ($id: UUID!) { auditEvents(filter: { connectionId: $id }) { nodes { action outcome } } }', {
      id: created.id,
    });
    expect(auditEvents.nodes.map(({ action, outcome }) => [action, outcome]).reverse()).toEqual([
      ['CREATE_CONNECTION', 'OK'],
      ['VERIFY_CONNECTION', 'CREDENTIALS_REJECTED'],
      ['DELETE_CONNECTION', 'OK'],
      ['RESTORE_CONNECTION', 'OK'],
    ]);
  });

  test('rejects mutations of another app with NOT_FOUND', async () => {
    const created = await create(signedRequests());
    const [error] = await errorsOf(
      organisation.client.request(
        'mutation ($id: UUID!) { updateOktaConnection(id: $id, input: { name: "x" }) { appConnection { id } } }',
        { id: created.id },
      ),
    );
    expect(error?.extensions.code).toBe('NOT_FOUND');
  });

  test('has REST routes and OpenAPI descriptions', async () => {
    const headers = { authorization: `Bearer ${organisation.apiKey}`, 'content-type': 'application/json' };
    const routes = `${server.url}/api/v1/app-connections/parcel-depot`;
    const created = await fetch(routes, {
      method: 'POST',
      headers,
      body: JSON.stringify({
        ...signedRequests({ passphrase: 'planted-passphrase' }),
        method: 'signed-requests',
      }),
    });
    const text = await created.text();
    expect(JSON.parse(text)).toMatchObject({
      appConnection: { app: 'parcel-depot', method: 'signed-requests', credentials: { clientId: 'c-12345' } },
    });
    expect(text).not.toMatch(/the-client-secret|the-signing-key|planted/);
    expect(shown()).toEqual({ ...signed, passphrase: 'planted-passphrase' });
    const openapi = await fetch(`${server.url}/api/v1/openapi.json`, { headers });
    const { components }: { components: { schemas: object } } = JSON.parse(await openapi.text());
    const names = Object.keys(components.schemas);
    expect(names).toContain('ParcelDepotConnection');
    for (const name of names) expect(name).toMatch(/^[\w.-]+$/);
  });

  test('stores and logs none of its secrets in plain text', async () => {
    const planted = { clientSecret: 'planted-one', signingKey: 'planted-two', passphrase: 'planted-three' };
    const { id } = await create(signedRequests(planted));
    await create(token({ apiToken: 'planted-four' }));
    await update(id, { credentials: { signingKey: 'planted-five' }, idempotencyKey: 'once' });
    const dump = await server.dump();
    expect(dump).toContain(id);
    expect(server.logs()).toContain('"msg":"request"');
    for (const word of ['planted-one', 'planted-two', 'planted-three', 'planted-four', 'planted-five']) {
      for (const form of ['utf8', 'base64', 'hex', 'base64url'] as const) {
        expect(dump).not.toContain(Buffer.from(word).toString(form));
        expect(server.logs()).not.toContain(Buffer.from(word).toString(form));
      }
    }
  });
});
