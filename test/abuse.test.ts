import { getIntrospectionQuery } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Created, createMutation, type Listed, listQuery, okta } from './testkit/operations.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let server: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  // As in production, but with an Okta.
  server = await startTestServer({ config: { production: true, graphiql: false } });
  organisation = await server.newOrganisation();
});
afterAll(() => server.close());

interface Sent {
  body?: BodyInit;
  query?: string;
  headers?: Record<string, string>;
  method?: string;
  search?: Record<string, string>;
  isStranger?: boolean;
}

/** Sends something, as the holder of a key or as a stranger. */
async function send({ body, query, headers, method = 'POST', search, isStranger }: Sent) {
  const url = new URL(server.graphqlUrl);
  for (const [name, value] of Object.entries(search ?? {})) url.searchParams.set(name, value);
  const response = await fetch(url, {
    method,
    headers: {
      ...(!isStranger && { authorization: `Bearer ${organisation.apiKey}` }),
      ...(method === 'POST' && !(body instanceof FormData) && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(method === 'POST' && { body: body ?? JSON.stringify({ query }) }),
  });
  const text = await response.text();
  const isJson = text !== '' && response.headers.get('content-type')?.includes('json');
  return { status: response.status, text, headers: response.headers, answer: isJson ? JSON.parse(text) : {} };
}

const many = (count: number, text: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => text(index)).join(' ');

/** Everything that is known to make a server do much for little. */
describe('a small request does not make much work:', () => {
  test.each([
    ['a field under a hundred aliases', `query cop { ${many(101, (i) => `alias${i}: __typename`)} }`],
    ['directives upon directives', `query cop { __typename ${'@aa'.repeat(10)} }`],
    ['the same field five hundred times', `query cop { ${many(500, () => '__typename')} }`],
    [
      'the schema asked for in a circle',
      'query cop { __schema { types { fields { type { fields { type { fields { type { fields { type { name } } } } } } } } } } }',
    ],
  ])('%s', async (_, query) => {
    const { answer, text } = await send({ query });
    expect(answer.data ?? null).toBeNull();
    expect(answer.errors).toHaveLength(1);
    expect(answer.errors[0].extensions.code).toBe('BAD_USER_INPUT');
    expect(text.length).toBeLessThan(1_000);
  });

  test('many operations in one request', async () => {
    const batch = Array.from({ length: 10 }, () => ({ query: 'query cop { __typename }' }));
    const { status, answer } = await send({ body: JSON.stringify(batch) });
    expect(status).toBe(400);
    expect(answer.errors[0].message).toContain('one JSON object');
  });
});

describe('a page elsewhere cannot make a browser ask on its behalf:', () => {
  const mutation = 'mutation { createProject(input: { name: "made-by-a-page" }) { project { id } } }';
  const form = new FormData();
  form.set('operations', JSON.stringify({ query: mutation }));
  form.set('map', '{}');

  test.each<[string, Sent]>([
    [
      'with a form',
      {
        body: new URLSearchParams({ query: mutation }),
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      },
    ],
    ['with a form of many parts', { body: form }],
    [
      'with plain text',
      { body: JSON.stringify({ query: mutation }), headers: { 'content-type': 'text/plain' } },
    ],
    ['with a bare document', { body: mutation, headers: { 'content-type': 'application/graphql' } }],
    [
      'with no type at all',
      { body: new Blob([JSON.stringify({ query: mutation })]), headers: { 'content-type': '' } },
    ],
  ])('%s', async (_, sent) => {
    const { status, text, headers } = await send(sent);
    expect(status).toBe(415);
    expect(headers.get('accept')).toBe('application/json');
    expect(text).toContain('application/json');
    expect((await send({ query: '{ projects { nodes { name } } }' })).text).not.toContain('made-by-a-page');
  });

  test('with GET, by which nothing is changed', async () => {
    const { createOktaConnection } = await organisation.client.request<Created>(createMutation, okta());
    const { id } = createOktaConnection.appConnection;
    for (const method of ['GET', 'HEAD']) {
      const query = `mutation { deleteAppConnection(id: "${id}") { id } }`;
      const { status, headers } = await send({ method, search: { query } });
      expect(status).toBe(405);
      expect(headers.get('allow')).toContain('POST');
    }
    const list = await organisation.client.request<Listed>(listQuery);
    expect(list.appConnections.nodes.map((node) => node.id)).toEqual([id]);
  });

  test('but a query may be asked with GET, by whoever can send the key with it', async () => {
    const search = { query: '{ viewer { organisation { id } } }' };
    const { status, answer, headers } = await send({ method: 'GET', search });
    expect(status).toBe(200);
    expect(answer.data.viewer.organisation.id).toBe(organisation.orgId);
    expect(headers.get('cache-control')).toBe('no-store');
    expect((await send({ method: 'GET', search, isStranger: true })).status).toBe(401);
  });
});

describe('in production nothing is told that strangers or clients need not know:', () => {
  test.each([
    ['the schema', getIntrospectionQuery()],
    ['what a field might be called', 'query cop { appConnection { nam } }'],
    ['what a directive might be called', 'query cop { __typename @skipp }'],
  ])('%s, to a stranger', async (_, query) => {
    const { status, answer, text } = await send({ query, isStranger: true });
    expect(status).toBe(401);
    expect(answer.errors).toHaveLength(1);
    expect(answer.errors[0].extensions.code).toBe('UNAUTHENTICATED');
    expect(text).not.toMatch(/did you mean|__schema|appConnection|skip/i);
  });

  test.each(['/graphql', '/graphiql', '/playground', '/console', '/graphql?query={__typename}'])(
    'a page to explore with, at %s',
    async (path) => {
      const response = await fetch(new URL(path, server.url), { headers: { accept: 'text/html' } });
      expect(response.ok).toBe(false);
      expect(await response.text()).not.toMatch(/<html|graphiql|playground/i);
    },
  );

  test('how long things took', async () => {
    const { answer } = await send({
      body: JSON.stringify({ query: 'query cop { __typename }', extensions: { tracing: true, debug: true } }),
      headers: { 'x-apollo-tracing': '1', 'apollo-query-plan-experimental': '1' },
    });
    expect(answer).toEqual({ data: { __typename: 'Query' } });
  });

  test.each([
    ['a document that is none', { query: 'qwerty cop { abc }' }],
    ['a body that is no JSON', { body: '{"query":' }],
    ['variables that are none', { body: JSON.stringify({ query: '{ __typename }', variables: 'cop' }) }],
    [
      'an operation that is not there',
      { body: JSON.stringify({ query: '{ __typename }', operationName: 'x' }) },
    ],
  ])('where in the code it went wrong, on %s', async (_, sent) => {
    const { answer, text } = await send(sent);
    expect(answer.errors[0].extensions.code).toBe('BAD_USER_INPUT');
    expect(text).not.toMatch(/stack|exception|node_modules|\.ts\b|\.js\b|at \w+ \(/);
  });
});
