import { getIntrospectionQuery } from 'graphql';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMutation, okta } from './testkit/operations.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

const anyQuery = gql`{ appConnections { totalCount } }`;

function post(server: TestServer, query: string, headers: Record<string, string> = {}) {
  return fetch(server.graphqlUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query }),
  });
}

describe('a request without a valid API key', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server.close());

  it.each([
    ['without an Authorization header', {}],
    ['with an empty Authorization header', { authorization: '' }],
    ['with an unknown API key', { authorization: `Bearer ack_${'x'.repeat(43)}` }],
    ['with the Basic scheme', { authorization: 'Basic dXNlcjpwYXNz' }],
    ['with two keys', { authorization: 'Bearer one two' }],
    ['with a key that has a non-ASCII character', { authorization: 'Bearer ké' }],
  ])('is answered with 401 and no data: %s', async (_, headers) => {
    for (const query of [anyQuery, createMutation]) {
      const response = await post(server, query, headers);
      expect(response.status).toBe(401);
      expect(response.headers.get('www-authenticate')).toBe('Bearer');
      const { data, errors } = await response.json();
      expect(data ?? null).toBeNull();
      expect(errors[0].extensions).toMatchObject({ code: 'UNAUTHENTICATED', remedy: expect.any(String) });
    }
  });

  it('compares API keys case-sensitively', async () => {
    const { apiKey } = await server.newOrganisation();
    const swapped = apiKey.replace(/[a-z]/gi, (letter) =>
      letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase(),
    );
    const [error] = await errorsOf(server.clientFor(swapped).request(anyQuery));
    expect(error?.extensions.code).toBe('UNAUTHENTICATED');
  });

  it('may introspect the schema in development, and nothing else', async () => {
    const schema = await (await post(server, getIntrospectionQuery())).json();
    expect(schema.data.__schema.queryType.name).toBe('Query');
    for (const query of [
      '{ __typename appConnections { totalCount } }',
      '{ ... { appConnections { totalCount } } }',
      'fragment F on Query { appConnections { totalCount } } { ...F }',
      'mutation { __typename }',
      'subscription { appConnectionChanged { kind } }',
    ]) {
      const { errors } = await (await post(server, query)).json();
      expect(errors[0].extensions.code).toBe('UNAUTHENTICATED');
    }
  });
});

describe('production mode', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ config: { production: true, graphiql: false, fakeOkta: false } });
  });
  afterAll(() => server.close());

  it('hides the schema and its suggestions from an unauthenticated client', async () => {
    for (const query of [getIntrospectionQuery(), '{ __typename }', '{ appConnection }', '{ syntax error']) {
      const response = await post(server, query);
      const text = await response.text();
      expect(response.status).toBe(401);
      expect(JSON.parse(text).errors[0].extensions.code).toBe('UNAUTHENTICATED');
      expect(text).not.toMatch(/appConnections|__schema|Did you mean/);
    }
  });

  it('allows introspection with an API key', async () => {
    const { client } = await server.newOrganisation();
    await expect(client.request(getIntrospectionQuery())).resolves.toHaveProperty('__schema');
  });

  it('gives a client with an API key suggestions that do not echo its input', async () => {
    const { apiKey } = await server.newOrganisation();
    const planted = 'PlantedPlanted00';
    for (const [query, suggested] of [
      [`{ appConection(id: "${planted}") { id } }`, 'appConnection'],
      [`{ viewer { scops ${planted} } }`, 'scopes'],
      [`{ viewer(${planted}: "${planted}") { scopes } projcts { nodes { id } } }`, 'projects'],
      [`mutation { createApiKey(input: { nam: "${planted}", scopes: [ACCESS_ADMIN] }) { key } }`, 'name'],
      [
        `mutation { createApiKey(input: { name: "${planted}", scopes: [ACCES_ADMIN] }) { key } }`,
        'ACCESS_ADMIN',
      ],
      [`query ($i: CreateApiKeyInpt!) { apiKeys { nodes { id ${planted} } } }`, 'CreateApiKeyInput'],
      [`{ ... on Viewr { ${planted} } }`, 'Viewer'],
    ] as const) {
      const text = await (await post(server, query, { authorization: `Bearer ${apiKey}` })).text();
      expect(text).toMatch(new RegExp(`Did you mean [^?]*\\\\"${suggested}\\\\"`));
      expect(text).not.toContain(planted);
      const unauthenticated = await (
        await post(server, query, { authorization: `Bearer ${apiKey}x` })
      ).text();
      expect(unauthenticated).not.toMatch(/Did you mean|appConnection|viewer|createApiKey/);
    }
  });

  it('does not serve GraphiQL', async () => {
    const response = await fetch(server.graphqlUrl, { headers: { accept: 'text/html' } });
    expect(await response.text()).not.toContain('GraphiQL');
  });

  it('does not answer for example.okta.com with the fake Okta', async () => {
    const loopback = await startTestServer({
      config: { production: true, fakeOkta: false },
      outbound: { lookup: async () => [{ address: '127.0.0.1', family: 4 }] },
    });
    const organisation = await loopback.newOrganisation();
    const [error] = await errorsOf(organisation.client.request(createMutation, okta()));
    expect(error?.extensions.code).toBe('HOST_NOT_ALLOWED');
    await loopback.close();
  });
});
