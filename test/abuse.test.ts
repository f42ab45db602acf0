import { getIntrospectionQuery } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Created, createMutation, type Listed, listQuery, okta } from './testkit/operations.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let server: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  // Production mode, with the fake Okta.
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

/** Sends a request with or without an API key. */
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

/** Known amplification attacks on GraphQL servers. */
describe('expensive queries in small requests', () => {
  it.each([
    ['a field under a hundred aliases', `query cop { ${many(101, (i) => `alias${i}: __typename`)} }`],
    ['directives upon directives', `query cop { __typename ${'@aa'.repeat(10)} }`],
    ['the same field five hundred times', `query cop { ${many(500, () => '__typename')} }`],
    [
      'circular introspection',
      'query cop { __schema { types { fields { type { fields { type { fields { type { fields { type { name } } } } } } } } } } }',
    ],
  ])('are rejected: %s', async (_, query) => {
    const { answer, text } = await send({ query });
    expect(answer.data ?? null).toBeNull();
    expect(answer.errors).toHaveLength(1);
    expect(answer.errors[0].extensions.code).toBe('BAD_USER_INPUT');
    expect(text.length).toBeLessThan(1_000);
  });

  it('are rejected: many operations in one request', async () => {
    const batch = Array.from({ length: 10 }, () => ({ query: 'query cop { __typename }' }));
    const { status, answer } = await send({ body: JSON.stringify(batch) });
    expect(status).toBe(400);
    expect(answer.errors[0].message).toContain('one JSON object');
  });
});

describe('cross-site requests (CSRF)', () => {
  const mutation = 'mutation { createProject(input: { name: "made-by-a-page" }) { project { id } } }';
  const form = new FormData();
  form.set('operations', JSON.stringify({ query: mutation }));
  form.set('map', '{}');

  it.each<[string, Sent]>([
    [
      'as a form',
      {
        body: new URLSearchParams({ query: mutation }),
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      },
    ],
    ['as a multipart form', { body: form }],
    [
      'as plain text',
      { body: JSON.stringify({ query: mutation }), headers: { 'content-type': 'text/plain' } },
    ],
    ['as a bare document', { body: mutation, headers: { 'content-type': 'application/graphql' } }],
    [
      'without a content type',
      { body: new Blob([JSON.stringify({ query: mutation })]), headers: { 'content-type': '' } },
    ],
  ])('cannot change anything: %s', async (_, sent) => {
    const { status, text, headers } = await send(sent);
    expect(status).toBe(415);
    expect(headers.get('accept')).toBe('application/json');
    expect(text).toContain('application/json');
    expect((await send({ query: '{ projects { nodes { name } } }' })).text).not.toContain('made-by-a-page');
  });

  it('cannot change anything: a mutation with GET', async () => {
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

  it('can read with GET when they carry an API key', async () => {
    const search = { query: '{ viewer { organisation { id } } }' };
    const { status, answer, headers } = await send({ method: 'GET', search });
    expect(status).toBe(200);
    expect(answer.data.viewer.organisation.id).toBe(organisation.orgId);
    expect(headers.get('cache-control')).toBe('no-store');
    expect((await send({ method: 'GET', search, isStranger: true })).status).toBe(401);
  });
});

describe('information disclosure in production', () => {
  it.each([
    ['the schema', getIntrospectionQuery()],
    ['suggestions of fields', 'query cop { appConnection { nam } }'],
    ['suggestions of directives', 'query cop { __typename @skipp }'],
  ])('hides %s from an unauthenticated client', async (_, query) => {
    const { status, answer, text } = await send({ query, isStranger: true });
    expect(status).toBe(401);
    expect(answer.errors).toHaveLength(1);
    expect(answer.errors[0].extensions.code).toBe('UNAUTHENTICATED');
    expect(text).not.toMatch(/did you mean|__schema|appConnection|skip/i);
  });

  it.each(['/graphql', '/graphiql', '/playground', '/console', '/graphql?query={__typename}'])(
    'serves no GraphQL IDE at %s',
    async (path) => {
      const response = await fetch(new URL(path, server.url), { headers: { accept: 'text/html' } });
      expect(response.ok).toBe(false);
      expect(await response.text()).not.toMatch(/<html|graphiql|playground/i);
    },
  );

  it('sends no timings', async () => {
    const { answer } = await send({
      body: JSON.stringify({ query: 'query cop { __typename }', extensions: { tracing: true, debug: true } }),
      headers: { 'x-apollo-tracing': '1', 'apollo-query-plan-experimental': '1' },
    });
    expect(answer).toEqual({ data: { __typename: 'Query' } });
  });

  it.each([
    ['a syntax error', { query: 'qwerty cop { abc }' }],
    ['invalid JSON', { body: '{"query":' }],
    ['variables that are no object', { body: JSON.stringify({ query: '{ __typename }', variables: 'cop' }) }],
    ['an unknown operation', { body: JSON.stringify({ query: '{ __typename }', operationName: 'x' }) }],
  ])('sends no stack trace for %s', async (_, sent) => {
    const { answer, text } = await send(sent);
    expect(answer.errors[0].extensions.code).toBe('BAD_USER_INPUT');
    expect(text).not.toMatch(/stack|exception|node_modules|\.ts\b|\.js\b|at \w+ \(/);
  });
});
