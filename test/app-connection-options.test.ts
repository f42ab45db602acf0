import { gql } from 'graphql-request';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { listConnections } from './testkit/list-connections.ts';
import {
  closesConnection,
  insufficientRole,
  rateLimited,
  startOkta,
  type TestOkta,
  tokenRejected,
} from './testkit/okta.ts';
import { fakeParcelDepot, parcelDepot } from './testkit/second-app.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

const trusted = new Set<string>();
let server: TestServer;
let depot: TestOkta;
beforeAll(async () => {
  depot = await startOkta({ handler: fakeParcelDepot });
  trusted.add(depot.hostPort);
  server = await startTestServer({
    config: { trustedInstanceHosts: trusted },
    outbound: { timeoutMs: 3_000 },
    apps: [...createApps({ trustedHosts: trusted }), parcelDepot({ origin: depot.origin })],
  });
});
afterAll(() => Promise.all([server.close(), depot.close()]));

describe('appConnectionOptions query', () => {
  const optionsQuery = gql`{
    appConnectionOptions {
      app name description icon
      methods {
        method label description
        fields { name label kind required secret placeholder help whereToFind }
      }
    }
  }`;

  interface Options {
    appConnectionOptions: {
      app: string;
      name: string;
      methods: { method: string; fields: Record<string, unknown>[] }[];
    }[];
  }

  test('returns everything that a form needs, for every app', async () => {
    const { client } = await server.newOrganisation();
    const { appConnectionOptions } = await client.request<Options>(optionsQuery);
    const text = expect.stringMatching(/\S/);
    expect(appConnectionOptions[0]).toEqual({
      app: 'OKTA',
      name: 'Okta',
      description: text,
      icon: expect.stringMatching(/^M[\d\sa-zA-Z.-]+Z$/),
      methods: [
        {
          method: 'API_TOKEN',
          label: 'API token',
          description: text,
          fields: [
            {
              name: 'instanceUrl',
              label: 'Instance URL',
              kind: 'URL',
              required: true,
              secret: false,
              placeholder: 'https://example.okta.com',
              help: text,
              whereToFind: text,
            },
            {
              name: 'apiToken',
              label: 'API token',
              kind: 'SECRET',
              required: true,
              secret: true,
              placeholder: text,
              help: text,
              whereToFind: expect.stringMatching(/Security > API > Tokens/),
            },
          ],
        },
        {
          method: 'SERVICE_APP',
          label: 'Service app',
          description: text,
          fields: [
            expect.objectContaining({ name: 'instanceUrl', kind: 'URL', required: true, secret: false }),
            expect.objectContaining({ name: 'clientId', kind: 'TEXT', required: false, secret: false }),
            expect.objectContaining({ name: 'scopes', kind: 'LIST', required: true, secret: false }),
            expect.objectContaining({ name: 'privateKey', kind: 'SECRET', required: false, secret: true }),
            expect.objectContaining({ name: 'keyId', kind: 'TEXT', required: false, secret: false }),
          ],
        },
      ],
    });
    const secret = { kind: 'SECRET', required: true, secret: true };
    const region = { name: 'region', kind: 'TEXT', required: false, secret: false };
    expect(appConnectionOptions[1]).toMatchObject({
      app: 'PARCEL_DEPOT',
      name: 'Parcel Depot',
      icon: null,
      methods: [
        {
          method: 'SIGNED_REQUESTS',
          label: 'Signed requests',
          fields: [
            { name: 'clientId', kind: 'TEXT', required: true, secret: false },
            { name: 'clientSecret', ...secret },
            { name: 'signingKey', ...secret },
            { name: 'passphrase', ...secret, required: false },
            region,
          ],
        },
        {
          method: 'API_TOKEN',
          label: 'Depot token',
          fields: [{ name: 'instanceUrl', kind: 'URL' }, { name: 'apiToken', ...secret }, region],
        },
        {
          method: 'KEY_PAIR',
          label: 'Key pair',
          fields: [
            { name: 'shelves', kind: 'LIST', required: true, secret: false },
            { name: 'depotKey', ...secret, required: false },
            { name: 'depotKeyName', kind: 'TEXT', required: false },
            region,
          ],
        },
      ],
    });
  });

  test('names form fields like the input fields of the app', async () => {
    const { client } = await server.newOrganisation();
    const { appConnectionOptions } = await client.request<Options>(optionsQuery);
    const inputs = ['OktaCredentialsInput', 'ParcelDepotCredentialsInput'];
    for (const [i, { methods }] of appConnectionOptions.entries()) {
      const { __type } = await client.request<{ __type: { inputFields: { name: string }[] } }>(
        gql`query ($name: String!) { __type(name: $name) { inputFields { name } } }`,
        { name: inputs[i] },
      );
      const fieldNames = new Set(methods.flatMap(({ fields }) => fields.map(({ name }) => name)));
      expect(new Set(__type.inputFields.map(({ name }) => name))).toEqual(fieldNames);
    }
  });

  test('requires an API key and no scope', async () => {
    const organisation = await server.newOrganisation();
    const weak = server.clientFor(await organisation.newKey([]));
    expect((await weak.request<Options>(optionsQuery)).appConnectionOptions).toHaveLength(2);
    const unauthenticated = server.clientFor('unknown-key');
    const [error] = await errorsOf(unauthenticated.request(optionsQuery));
    expect(error?.extensions.code).toBe('UNAUTHENTICATED');
  });
});

describe('credential validation', () => {
  const validateMutation = gql`
    mutation Validate($credentials: OktaCredentialsInput!) {
      validateOktaCredentials(credentials: $credentials) {
        status code message remedy retryAt oktaRequestId tokenOwner { id login status }
      }
    }
  `;

  let upstream: TestOkta;
  beforeEach(async () => {
    upstream = await startOkta();
    trusted.add(upstream.hostPort);
    return () => upstream.close();
  });

  async function validate() {
    const { client } = await server.newOrganisation();
    const credentials = { instanceUrl: upstream.origin, apiToken: ' a-token-to-validate ' };
    const answer = await client.request<{ validateOktaCredentials: Record<string, unknown> }>(
      validateMutation,
      { credentials },
    );
    return answer.validateOktaCredentials;
  }

  test('asks Okta and returns the owner of the token', async () => {
    expect(await validate()).toEqual({
      status: 'VERIFIED',
      code: null,
      message: null,
      remedy: null,
      retryAt: null,
      oktaRequestId: expect.any(String),
      tokenOwner: { id: expect.any(String), login: expect.any(String), status: 'ACTIVE' },
    });
    expect(upstream.verifications().map(({ headers }) => headers.authorization)).toEqual([
      'SSWS a-token-to-validate',
    ]);
  });

  const resetAt = new Date(Math.ceil(Date.now() / 1000) * 1000 + 60_000);
  test.each([
    ['the token is rejected', tokenRejected, 'REJECTED', 'CREDENTIALS_REJECTED', null],
    ['the role is too weak', insufficientRole, 'REJECTED', 'INSUFFICIENT_PERMISSIONS', null],
    ['Okta is rate limiting', rateLimited(resetAt), 'UNREACHABLE', 'UPSTREAM_RATE_LIMITED', resetAt],
    ['Okta closes the connection', closesConnection, 'UNREACHABLE', 'UPSTREAM_UNREACHABLE', null],
  ])('returns a result instead of an error when %s', async (_, behaviour, status, code, retryAt) => {
    upstream.behave(behaviour);
    expect(await validate()).toMatchObject({
      status,
      code,
      message: expect.stringMatching(/\S/),
      remedy: expect.stringMatching(/\S/),
      retryAt: retryAt?.toISOString() ?? null,
      tokenOwner: null,
    });
  });

  test('stores nothing', async () => {
    const organisation = await server.newOrganisation();
    const connections = async () => server.asOwner().execute('select * from app_connection order by id');
    const before = await connections();
    const logged = server.logs().length;
    await organisation.client.request(validateMutation, {
      credentials: { instanceUrl: upstream.origin, apiToken: 'a-token-to-forget' },
    });
    expect(upstream.verifications()).toHaveLength(1);
    expect(await connections()).toEqual(before);
    expect((await listConnections(organisation)).totalCount).toBe(0);
    expect(await server.dump()).not.toContain('a-token-to-forget');
    expect(server.logs().slice(logged)).not.toContain('a-token-to-forget');
  });

  test('applies the input rules of create and lists every issue', async () => {
    const { client } = await server.newOrganisation();
    const credentials = { instanceUrl: 'http://acme.okta.com/path', apiToken: 'SSWS token' };
    const create = gql`
      mutation ($credentials: OktaCredentialsInput!) {
        createOktaConnection(input: { name: "one", credentials: $credentials }) { appConnection { id } }
      }
    `;
    const [[refused], [created]] = await Promise.all([
      errorsOf(client.request(validateMutation, { credentials })),
      errorsOf(client.request(create, { credentials })),
    ]);
    const issues = (refused?.extensions.issues ?? []) as { path: string[]; message: string }[];
    expect(refused?.extensions.code).toBe('BAD_USER_INPUT');
    expect(new Set(issues.map(({ path }) => path.join('.')))).toEqual(
      new Set(['credentials.instanceUrl', 'credentials.apiToken']),
    );
    expect(issues.map(({ path, message }) => ({ path: ['input', ...path], message }))).toEqual(
      created?.extensions.issues,
    );
  });

  test('rejects a secret in a field that is not secret', async () => {
    const { client } = await server.newOrganisation();
    const apiToken = 'a-misplaced-token';
    const credentials = { instanceUrl: `https://${apiToken}.okta.com`, apiToken };
    const [error] = await errorsOf(client.request(validateMutation, { credentials }));
    expect(error?.extensions.issues).toMatchObject([{ path: ['credentials', 'instanceUrl'] }]);
  });

  test('requires the scope connections:verify and no other', async () => {
    const organisation = await server.newOrganisation();
    const credentials = { instanceUrl: upstream.origin, apiToken: 'a-token' };
    const others = server.clientFor(await organisation.newKey(['connections:read', 'connections:write']));
    const [error] = await errorsOf(others.request(validateMutation, { credentials }));
    expect(error?.extensions.code).toBe('FORBIDDEN');
    expect(upstream.requests).toHaveLength(0);
    const verifier = server.clientFor(await organisation.newKey(['connections:verify']));
    expect(await verifier.request(validateMutation, { credentials })).toMatchObject({
      validateOktaCredentials: { status: 'VERIFIED' },
    });
  });

  test('exists for every app and each of its methods', async () => {
    const { client } = await server.newOrganisation();
    const validate = gql`
      mutation ($credentials: ParcelDepotCredentialsInput!, $method: AppConnectionMethod!) {
        validateParcelDepotCredentials(credentials: $credentials, method: $method) { status code }
      }
    `;
    const signed = { clientId: 'c-1', clientSecret: 'a-client-secret', signingKey: 'a-signing-key' };
    const token = { instanceUrl: depot.origin, apiToken: 'a-wrong-token' };
    expect(await client.request(validate, { credentials: signed, method: 'SIGNED_REQUESTS' })).toEqual({
      validateParcelDepotCredentials: { status: 'VERIFIED', code: null },
    });
    expect(await client.request(validate, { credentials: token, method: 'API_TOKEN' })).toEqual({
      validateParcelDepotCredentials: { status: 'REJECTED', code: 'CREDENTIALS_REJECTED' },
    });
    const [error] = await errorsOf(client.request(validate, { credentials: {}, method: 'API_TOKEN' }));
    const issues = (error?.extensions.issues ?? []) as { path: string[] }[];
    expect(issues.map(({ path }) => path.join('.')).sort()).toEqual([
      'credentials.apiToken',
      'credentials.instanceUrl',
    ]);
  });
});
