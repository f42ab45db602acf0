import { getIntrospectionQuery } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorsOf, startTestServer, type TestServer, type WireError } from './testkit/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

describe('excessive documents', () => {
  it.each([
    [
      'aliases',
      `{ ${Array.from({ length: 200 }, (_, i) => `a${i}: appConnections { totalCount }`).join(' ')} }`,
    ],
    ['directives', `{ __typename ${'@skip(if: false) '.repeat(200)} }`],
    ['unknown directives', `{ __typename ${'@a '.repeat(20_000)} }`],
    ['levels', `${'{ a '.repeat(20_000)}${'}'.repeat(20_000)}`],
    [
      'brackets in a value',
      `{ appConnections(first: ${'['.repeat(20_000)}${']'.repeat(20_000)}) { totalCount } }`,
    ],
    ['brackets in a type', `query ($a: ${'['.repeat(20_000)}Int${']'.repeat(20_000)}) { __typename }`],
    ['fragments in a circle', '{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }'],
  ])('are rejected: %s', async (_, query) => {
    const { client } = await server.newOrganisation();
    const [error] = await errorsOf(client.request(query));
    expect(error?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [expect.objectContaining({ message: expect.any(String) })],
      remedy: expect.any(String),
    });
  });

  it.each([
    ['with Content-Length', (body: string) => body],
    [
      'chunked',
      (body: string) =>
        new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode(body));
            controller.close();
          },
        }),
    ],
  ])('are rejected by size: %s', async (_, send) => {
    const { apiKey } = await server.newOrganisation();
    const response = await fetch(server.graphqlUrl, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body: send(JSON.stringify({ query: `{ __typename } #${'x'.repeat(200_000)}` })),
      duplex: 'half',
    } as RequestInit);
    expect(response.status).toBe(413);
  });

  it('do not include the introspection query of tools', async () => {
    const { client } = await server.newOrganisation();
    await expect(
      client.request(getIntrospectionQuery({ inputValueDeprecation: true })),
    ).resolves.toBeDefined();
  });
});

describe('a response about limits', () => {
  it.each([
    [415, { 'content-type': 'text/plain' }, /Content-Type: application\/json/],
    [406, { 'content-type': 'application/json', accept: 'text/csv' }, /Accept header/],
  ])('gives the reason with status %i', async (status, headers, text) => {
    const { apiKey } = await server.newOrganisation();
    const response = await fetch(server.graphqlUrl, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, ...headers },
      body: '{"query":"{ __typename }"}',
    });
    expect(response.status).toBe(status);
    expect(await response.text()).toMatch(text);
  });
});

/** Sends the maximum and then one more; returns the single error of the second request. */
async function justTooMuch(
  most: number,
  requestOf: (count: number, projectId: string) => { query: string; variables?: Record<string, unknown> },
): Promise<WireError | undefined> {
  const { client, projectId } = await server.newOrganisation();
  const send = (count: number) => {
    const { query, variables } = requestOf(count, projectId);
    return client.request(query, variables);
  };
  await expect(send(most)).resolves.toBeDefined();
  const errors = await errorsOf(send(most + 1));
  expect(errors.map(({ extensions }) => extensions.code)).toEqual(['BAD_USER_INPUT']);
  return errors[0];
}

const some = (count: number, one: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => one(index)).join(' ');

describe('limits of one request', () => {
  it.each<[string, number, (count: number) => string, RegExp]>([
    ['15 aliases', 15, (count) => `{ ${some(count, (i) => `a${i}: __typename`)} }`, /15/],
    [
      '8 directives',
      8,
      (count) => `{ ${some(count, (i) => `... @skip(if: ${i > 0}) { __typename }`)} }`,
      /Directives limit of 8/,
    ],
    // Four tokens each and two braces.
    ['2,000 tokens', 499, (count) => `{ ${some(count, () => '... { __typename }')} }`, /limit of 2000/],
    [
      '12 levels',
      10,
      (count) =>
        `{ __type(name: "Query") { ${some(count, () => 'ofType {')} name ${some(count, () => '}')} } }`,
      /depth limit of 12/,
    ],
    [
      '10 repetitions of a field',
      10,
      (count) => `{ ${some(count, () => '__typename')} }`,
      /more than 10 times/,
    ],
    ['2 pages of 100 with all fields', 2, (count) => `{ ${some(count, pageOfAll)} }`, /Cost limit/],
  ])('allow %s and reject more', async (_, most, query, message) => {
    const error = await justTooMuch(most, (count) => ({ query: query(count) }));
    expect(error?.message).toMatch(message);
  });

  const pages = (count: number, list: string) => some(count, (i) => `p${i}: ${list} { ...Page }`);
  const withPage = (operation: string) =>
    `${operation} fragment Page on AppConnectionPage { totalCount nodes { ${everything} } ${pageInfo} }`;
  it.each<[string, number, (count: number) => string, Record<string, unknown>]>([
    [
      'by variables',
      2,
      (count) => `query ($n: Int) { ${pages(count, 'appConnections(first: $n)')} }`,
      { n: 100 },
    ],
    [
      'backward',
      2,
      (count) => `query ($n: Int!) { ${pages(count, 'appConnections(last: $n)')} }`,
      { n: 100 },
    ],
    [
      'by the default of a variable',
      2,
      (count) => `query ($n: Int = 100) { ${pages(count, 'appConnections(first: $n)')} }`,
      {},
    ],
    [
      'by a variable after another argument',
      2,
      (count) => `query ($n: Int, $no: Int) { ${pages(count, 'appConnections(last: $no, first: $n)')} }`,
      { n: 100, no: null },
    ],
    ['by default', 14, (count) => `{ ${pages(count, 'appConnections')} }`, {}],
    [
      'null',
      14,
      (count) => `query ($n: Int = 100) { ${pages(count, 'appConnections(first: $n)')} }`,
      { n: null },
    ],
  ])('bound the cost of pages with their size given %s', async (_, most, query, variables) => {
    const error = await justTooMuch(most, (count) => ({ query: withPage(query(count)), variables }));
    expect(error?.message).toMatch(/Cost limit of 30000/);
  });

  it('count the cost of variables each time a cached document is executed', async () => {
    const { client } = await server.newOrganisation();
    const query = withPage(`query ($n: Int) { ${pages(15, 'appConnections(first: $n)')} }`);
    for (const n of [1, 2, 1]) await expect(client.request(query, { n })).resolves.toBeDefined();
    for (const n of [100, 99]) {
      const [error] = await errorsOf(client.request(query, { n }));
      expect(error?.message).toMatch(/Cost limit/);
    }
  });

  it('allow pages of 100 and reject more', async () => {
    for (const list of ['appConnections', 'auditEvents', 'apiKeys', 'projects']) {
      const error = await justTooMuch(100, (first) => ({
        query: `query ($first: Int!) { ${list}(first: $first) { pageInfo { endCursor } } }`,
        variables: { first },
      }));
      expect(error?.message).toContain('at most 100');
    }
  });

  it('allow lists of 100 items in variables and literals, and reject more', async () => {
    const many = (count: number, projectId: string) => Array.from({ length: count }, () => projectId);
    const error = await justTooMuch(100, (count, projectId) => ({
      query: 'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { id } } }',
      variables: { input: { name: 'any', scopes: ['AUDIT_READ'], projectIds: many(count, projectId) } },
    }));
    expect(error?.extensions.issues).toEqual([
      { path: ['input', 'projectIds'], message: 'A list has at most 100 items.' },
    ]);
    await justTooMuch(100, (count, projectId) => ({
      query: `mutation {
        createApiKey(
          input: { name: "any", scopes: [AUDIT_READ], projectIds: ${JSON.stringify(many(count, projectId))} }
        ) { apiKey { id } }
      }`,
    }));
  });
});

describe('error responses', () => {
  it('are not many times longer than the request, however many errors it has', async () => {
    const { apiKey } = await server.newOrganisation();
    const members = Array.from({ length: 9_000 }, (_, index) => [`k${index}`, 1]);
    const body = JSON.stringify({
      query:
        'mutation ($input: CreateOktaConnectionInput!) { createOktaConnection(input: $input) { appConnection { id } } }',
      variables: { input: Object.fromEntries(members) },
    });
    const response = await fetch(server.graphqlUrl, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body,
    });
    const text = await response.text();
    expect(JSON.parse(text).errors[0].extensions.issues).toHaveLength(100);
    expect(text.length).toBeLessThan(body.length);
  });
});

const pageInfo = 'pageInfo { hasNextPage hasPreviousPage startCursor endCursor }';
const everything = `
  id name description app method orgId projectId version createdAt updatedAt
  isPlatformManagedCredentials credentialsHash
  credentials { instanceUrl ... on OktaCredentials { tokenOwner { id login status } } }
  verification { status checkedAt lastVerifiedAt failingSince code message remedy oktaRequestId }
`;

/** Selects all fields of a hundred connections. */
function pageOfAll(index: number): string {
  return `page${index}: appConnections(first: 100) {
    totalCount
    nodes { ${everything} }
    ${pageInfo}
  }`;
}
