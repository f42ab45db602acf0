import { createHash } from 'node:crypto';
import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { persistedExchange } from '@urql/exchange-persisted';
import { Client, fetchExchange } from 'urql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PersistedQueries } from '../src/graphql/persisted-queries.ts';
import { at } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

let server: TestServer;
let apiKey: string;
beforeAll(async () => {
  server = await startTestServer();
  ({ apiKey } = await server.newOrganisation());
});
afterAll(() => server.close());

const sha256 = (document: string) => createHash('sha256').update(document).digest('hex');
const persistedQuery = (document: string) => ({ version: 1, sha256Hash: sha256(document) });
/** The second one makes Yoga process the request instead of the fast path. */
const accepts = ['application/json', 'application/json;q=1', 'application/graphql-response+json'];

async function post(body: object, { accept = 'application/json', key = apiKey } = {}) {
  const response = await fetch(server.graphqlUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept, ...(key && { authorization: `Bearer ${key}` }) },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: JSON.parse(await response.text()) };
}

const byHash = (document: string, more: object = {}) => ({
  extensions: { persistedQuery: persistedQuery(document) },
  ...more,
});
const withHash = (document: string, more: object = {}) => ({ query: document, ...byHash(document, more) });

const notFound = {
  status: 200,
  body: {
    errors: [
      {
        message: 'PersistedQueryNotFound',
        extensions: { code: 'PERSISTED_QUERY_NOT_FOUND', remedy: expect.stringContaining('"query"') },
      },
    ],
  },
};

describe.each(accepts)('automatic persisted query with Accept: %s', (accept) => {
  test('is not found until it was sent once with its hash, and then returns the same response', async () => {
    const document = `query Who { viewer { __typename } } # ${accept}`;
    expect(await post(byHash(document), { accept })).toEqual(notFound);
    const answer = { status: 200, body: { data: { viewer: { __typename: 'Viewer' } } } };
    expect(await post(withHash(document), { accept })).toEqual(answer);
    for (const body of [
      byHash(document),
      byHash(document, { query: null }),
      byHash(document, { query: '' }),
    ]) {
      expect(await post(body, { accept })).toEqual(answer);
    }
  });

  test('accepts variables and an operation name', async () => {
    const document = `query One($first: Int) { projects(first: $first) { nodes { name } } }
      query Other { viewer { __typename } } # ${accept}`;
    await post(withHash(document, { operationName: 'Other' }), { accept });
    const named = byHash(document, { operationName: 'One', variables: { first: 1 } });
    expect((await post(named, { accept })).body).toEqual({
      data: { projects: { nodes: [{ name: 'Test project' }] } },
    });
    const wrong = byHash(document, { operationName: 'One', variables: { first: 'one' } });
    expect(at((await post(wrong, { accept })).body, 'errors', 0, 'extensions', 'issues', 0, 'path')).toEqual([
      'first',
    ]);
  });

  test.each<[string, object | string, RegExp]>([
    ['another hash', { version: 1, sha256Hash: sha256('another') }, /not the SHA-256 of "query"/],
    ['a hash in capitals', { version: 1, sha256Hash: 'A'.repeat(64) }, /64 hexadecimal digits/],
    ['no hash', { version: 1 }, /64 hexadecimal digits/],
    ['a hash that is a list', { version: 1, sha256Hash: ['a'] }, /64 hexadecimal digits/],
    ['another version', { version: 2, sha256Hash: sha256('{ __typename }') }, /version must be 1/],
    ['a list', [], /must be an object/],
    ['a text', sha256('{ __typename }'), /must be an object/],
  ])('is rejected with %s, with the reason', async (_, given, message) => {
    const body = { query: '{ __typename }', extensions: { persistedQuery: given } };
    const { status, body: answer } = await post(body, { accept });
    expect(status).toBe(400);
    expect(at(answer, 'errors', 0, 'message')).toMatch(message);
    expect(at(answer, 'errors', 0, 'extensions')).toMatchObject({
      code: 'BAD_USER_INPUT',
      remedy: expect.any(String),
    });
  });

  test.each([
    ['does not validate', '{ nowhere }'],
    ['cannot be parsed', '{ viewer {'],
    ['asks for too much', `{ ${'viewer { __typename } '.repeat(11)} }`],
  ])('is not stored when it %s', async (_, text) => {
    const document = `${text} # ${accept}`;
    expect(at((await post(withHash(document), { accept })).body, 'errors', 0, 'extensions', 'code')).toBe(
      'BAD_USER_INPUT',
    );
    expect(await post(byHash(document), { accept })).toEqual(notFound);
  });

  test('is rejected without a valid API key, registered or not', async () => {
    const document = `{ viewer { scopes } } # ${accept}`;
    await post(withHash(document), { accept });
    for (const body of [byHash(document), withHash(document), byHash('{ unknown }')]) {
      const { status, body: answer } = await post(body, { accept, key: 'unknown-key' });
      expect([status, at(answer, 'errors', 0, 'extensions', 'code')]).toEqual([401, 'UNAUTHENTICATED']);
    }
  });

  test('is not stored for an unauthenticated client that may read the schema', async () => {
    const document = `{ __schema { queryType { name } } } # ${accept}`;
    const answer = { status: 200, body: { data: { __schema: { queryType: { name: 'Query' } } } } };
    expect(await post(withHash(document), { accept, key: '' })).toEqual(answer);
    expect(await post(byHash(document), { accept, key: '' })).toEqual(notFound);
    await post(withHash(document), { accept });
    expect(await post(byHash(document), { accept, key: '' })).toEqual(notFound);
  });
});

describe('automatic persisted query over GET', () => {
  async function get(parameters: Record<string, string>) {
    const response = await fetch(`${server.graphqlUrl}?${new URLSearchParams(parameters)}`, {
      headers: { authorization: `Bearer ${apiKey}`, accept: 'application/json' },
    });
    return { status: response.status, body: JSON.parse(await response.text()) };
  }
  const extensions = (document: string) => JSON.stringify({ persistedQuery: persistedQuery(document) });

  test('is registered and requested by its hash', async () => {
    const query = 'query ByGet { viewer { __typename } }';
    expect(await get({ extensions: extensions(query) })).toEqual(notFound);
    const answer = { status: 200, body: { data: { viewer: { __typename: 'Viewer' } } } };
    expect(await get({ query, extensions: extensions(query) })).toEqual(answer);
    expect(await get({ extensions: extensions(query), operationName: 'ByGet', variables: '{}' })).toEqual(
      answer,
    );
  });

  test('does not execute a mutation, even under a registered hash', async () => {
    const query = 'mutation { createProject(input: { name: "made-by-get" }) { project { name } } }';
    await post(withHash(query));
    expect((await get({ extensions: extensions(query) })).status).toBe(405);
    const again = 'mutation { createProject(input: { name: "made-by-get-2" }) { project { name } } }';
    expect((await get({ query: again, extensions: extensions(again) })).status).toBe(405);
    expect((await post({ query: '{ projects { nodes { name } } }' })).body).toEqual({
      data: { projects: { nodes: [{ name: 'Test project' }, { name: 'made-by-get' }] } },
    });
    expect(await post(byHash(again))).toEqual(notFound);
  });
});

describe('persisted queries of an organisation', () => {
  test('are invisible to other organisations', async () => {
    const other = await server.newOrganisation();
    const document = '{ viewer { organisation { id } } }';
    await post(withHash(document), { key: other.apiKey });
    expect(await post(byHash(document))).toEqual(notFound);
    const { body } = await post(byHash(document), { key: other.apiKey });
    expect(at(body, 'data', 'viewer', 'organisation', 'id')).toBe(other.orgId);
  });

  test("evict the organisation's own oldest ones beyond its limit, and those of no other", async () => {
    const [many, few] = [await server.newOrganisation(), await server.newOrganisation()];
    const small = '{ viewer { organisation { name } } }';
    await post(withHash(small), { key: few.apiKey });
    const large = (index: number) => `{ viewer { __typename } } # ${index} ${'x'.repeat(90_000)}`;
    for (let index = 1; index <= 6; index += 1) await post(withHash(large(index)), { key: many.apiKey });
    expect(await post(byHash(large(1)), { key: many.apiKey })).toEqual(notFound);
    expect((await post(byHash(large(6)), { key: many.apiKey })).body.data).toBeDefined();
    expect((await post(byHash(small), { key: few.apiKey })).body.data).toBeDefined();
  });

  test('are evicted, least recently used organisation first, beyond the total limit', () => {
    const known = new PersistedQueries();
    const document = 'x'.repeat(100_000);
    const organisations = Array.from({ length: 200 }, (_, index) => `organisation-${index}`);
    for (const organisation of organisations) {
      known.store(organisation, 'one', document);
      known.store(organisation, 'two', document);
      known.find('organisation-0', 'one');
    }
    const kept = organisations.filter((organisation) => known.find(organisation, 'two') !== undefined);
    expect(kept.length * 2 * 2 * document.length).toBeLessThanOrEqual(32_000_000);
    expect(kept).toEqual(['organisation-0', ...organisations.slice(1 - kept.length)]);
    expect(kept.length).toBeGreaterThan(70);
  });
});

/** A fetch with the API key that records the method, and whether the request contained the document. */
function recording() {
  const sent: string[] = [];
  const recordingFetch: typeof fetch = (input, init) => {
    const url = new URL(String(input));
    const body = init?.body ? JSON.parse(String(init.body)) : Object.fromEntries(url.searchParams);
    sent.push(`${init?.method ?? 'GET'} ${body.query ? 'document' : 'hash'}`);
    const headers = new Headers(init?.headers);
    headers.set('authorization', `Bearer ${apiKey}`);
    return fetch(input, { ...init, headers });
  };
  return { sent, recordingFetch };
}

describe("Apollo Client's persisted queries", () => {
  test.each([
    [false, ['POST hash', 'POST document', 'POST hash']],
    [true, ['GET hash', 'POST document', 'GET hash']],
  ])('work with useGETForHashedQueries: %s', async (useGETForHashedQueries, expected) => {
    const { sent, recordingFetch } = recording();
    const query = gql`
      query Apollo${String(useGETForHashedQueries)} { viewer { __typename organisation { name } } }
    `;
    for (const attempt of ['first', 'second']) {
      const client = new ApolloClient({
        cache: new InMemoryCache(),
        link: ApolloLink.from([
          new PersistedQueryLink({ sha256, useGETForHashedQueries }),
          new HttpLink({ uri: server.graphqlUrl, fetch: recordingFetch }),
        ]),
      });
      const { data } = await client.query({ query, fetchPolicy: 'network-only' });
      expect([attempt, at(data, 'viewer', 'organisation', 'name')]).toEqual([attempt, 'Test organisation']);
      client.stop();
    }
    expect(sent).toEqual(expected);
  });

  test('work for mutations over POST', async () => {
    const { sent, recordingFetch } = recording();
    const mutation = gql`
      mutation ApolloMakes($name: String!) { createProject(input: { name: $name }) { project { name } } }
    `;
    const client = new ApolloClient({
      cache: new InMemoryCache(),
      link: ApolloLink.from([
        new PersistedQueryLink({ sha256, useGETForHashedQueries: true }),
        new HttpLink({ uri: server.graphqlUrl, fetch: recordingFetch }),
      ]),
    });
    for (const name of ['Apollo 1', 'Apollo 2']) {
      const { data } = await client.mutate({ mutation, variables: { name } });
      expect(at(data, 'createProject', 'project', 'name')).toBe(name);
    }
    client.stop();
    expect(sent).toEqual(['POST hash', 'POST document', 'POST hash']);
  });
});

describe("urql's persisted queries", () => {
  test.each([
    [false, ['POST hash', 'POST document', 'POST hash']],
    ['within-url-limit', ['GET hash', 'GET document', 'GET hash']],
  ] as const)(
    'work with preferGetForPersistedQueries: %s',
    async (preferGetForPersistedQueries, expected) => {
      const { sent, recordingFetch } = recording();
      const client = new Client({
        url: server.graphqlUrl,
        exchanges: [persistedExchange({ preferGetForPersistedQueries }), fetchExchange],
        fetch: recordingFetch,
        preferGetMethod: false,
      });
      const query = `query Urql_${String(preferGetForPersistedQueries).replaceAll('-', '_')} { viewer { scopes } }`;
      for (let attempt = 1; attempt <= 2; attempt += 1) {
        const { data, error } = await client.query(query, {});
        expect(error).toBeUndefined();
        expect(at(data, 'viewer', 'scopes', 0)).toBe('CONNECTIONS_READ');
      }
      expect(sent).toEqual(expected);
    },
  );
});
