import { getIntrospectionQuery } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

describe('one request cannot ask for more than any honest one does', () => {
  test.each([
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
  ])('%s', async (_, query) => {
    const { client } = await server.newOrganisation();
    const [error] = await errorsOf(client.request(query));
    expect(error?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [expect.objectContaining({ message: expect.any(String) })],
      remedy: expect.any(String),
    });
  });

  test('bytes', async () => {
    const { apiKey } = await server.newOrganisation();
    const response = await fetch(server.graphqlUrl, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ query: `{ __typename } #${'x'.repeat(200_000)}` }),
    });
    expect(response.status).toBe(413);
  });

  test('but reading the schema is not too much', async () => {
    const { client } = await server.newOrganisation();
    await expect(
      client.request(getIntrospectionQuery({ inputValueDeprecation: true })),
    ).resolves.toBeDefined();
  });
});

test.each([
  [415, { 'content-type': 'text/plain' }, /Content-Type: application\/json/],
  [406, { 'content-type': 'application/json', accept: 'text/csv' }, /Accept header/],
])('what is refused with status %i is told why', async (status, headers, text) => {
  const { apiKey } = await server.newOrganisation();
  const response = await fetch(server.graphqlUrl, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, ...headers },
    body: '{"query":"{ __typename }"}',
  });
  expect(response.status).toBe(status);
  expect(await response.text()).toMatch(text);
});
