import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ApolloClient, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { relayStylePagination } from '@apollo/client/utilities';
import { cacheExchange } from '@urql/exchange-graphcache';
import { relayPagination } from '@urql/exchange-graphcache/extras';
import { Client, fetchExchange } from 'urql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildRow, createOrganisationWith } from './testkit/list-connections.ts';
import { temporaryFolder } from './testkit/process.ts';
import { at } from './testkit/rest.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

const names = ['a', 'b', 'c', 'd', 'e'];
let server: TestServer;
let organisation: TestOrganisation;
let headers: Record<string, string>;
beforeAll(async () => {
  server = await startTestServer();
  organisation = await createOrganisationWith(
    server,
    names.map((name) => buildRow({ name })),
  );
  headers = { authorization: `Bearer ${organisation.apiKey}` };
});
afterAll(() => server.close());

/** The names in the edges of a page. */
function namesOn(data: unknown): unknown[] {
  return Object(at(data, 'appConnections', 'edges')).map((edge: unknown) => at(edge, 'node', 'name'));
}

describe('edges of a page of connections', () => {
  const document = `query ($first: Int, $after: String, $last: Int, $before: String, $orderBy: AppConnectionOrder) {
    appConnections(first: $first, after: $after, last: $last, before: $before, orderBy: $orderBy) {
      edges { cursor node { id name } } nodes { id name }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }`;

  test.each([
    ['forward by name', { first: 5 }],
    ['backward by name', { last: 5 }],
    ['by moment, the latest first', { first: 5, orderBy: { field: 'CREATED_AT', direction: 'DESC' } }],
  ])('contain the nodes, each with a cursor that continues the list: %s', async (_, variables) => {
    const { client } = organisation;
    const { appConnections } = await client.request<Record<string, unknown>>(document, variables);
    const [edges, nodes] = [Object(at(appConnections, 'edges')), Object(at(appConnections, 'nodes'))];
    expect(edges.map(({ node }: { node: unknown }) => node)).toEqual(nodes);
    expect(edges.at(0).cursor).toBe(at(appConnections, 'pageInfo', 'startCursor'));
    expect(edges.at(-1).cursor).toBe(at(appConnections, 'pageInfo', 'endCursor'));
    const all = nodes.map(({ name }: { name: string }) => name);
    for (const [index, { cursor }] of edges.entries()) {
      const orderBy = Object(variables).orderBy;
      expect(namesOn(await client.request(document, { first: 5, after: cursor, orderBy }))).toEqual(
        all.slice(index + 1),
      );
      expect(namesOn(await client.request(document, { last: 5, before: cursor, orderBy }))).toEqual(
        all.slice(0, index),
      );
    }
  });

  test('cost about as much as nodes: a page of 100 with all fields passes, three pages do not', async () => {
    const page = (index: number) => `page${index}: appConnections(first: 100) {
      totalCount
      edges {
        cursor
        node {
          id name description app method orgId projectId version createdAt updatedAt
          isPlatformManagedCredentials credentialsHash
          credentials { instanceUrl ... on OktaCredentials { tokenOwner { id login status } } }
          verification { status checkedAt lastVerifiedAt failingSince code message remedy oktaRequestId }
        }
      }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }`;
    const { client } = organisation;
    expect(await client.request(`{ ${page(1)} }`)).toMatchObject({ page1: { totalCount: 5 } });
    const [error] = await errorsOf(client.request(`{ ${page(1)} ${page(2)} ${page(3)} }`));
    expect(error?.extensions.code).toBe('BAD_USER_INPUT');
    expect(error?.message).toMatch(/cost/i);
  });

  test('contain the whole connection when only edges select its details', async () => {
    const { appConnections } = await organisation.client.request<Record<string, unknown>>(
      '{ appConnections(first: 1) { edges { node { credentials { instanceUrl } } } } }',
    );
    expect(at(appConnections, 'edges', 0, 'node', 'credentials', 'instanceUrl')).toBe(
      'https://example.okta.com',
    );
  });
});

const query = `
  query List($first: Int!, $after: String) {
    appConnections(first: $first, after: $after) {
      __typename
      edges { __typename cursor node { __typename id name } }
      pageInfo { __typename hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
`;

test("Apollo Client's relayStylePagination joins pages of connections", async () => {
  const client = new ApolloClient({
    cache: new InMemoryCache({
      typePolicies: { Query: { fields: { appConnections: relayStylePagination() } } },
    }),
    link: new HttpLink({ uri: server.graphqlUrl, headers }),
  });
  const list = client.watchQuery({ query: gql(query), variables: { first: 2 } });
  const heard = list.subscribe(() => {});
  const { data } = await client.query({ query: gql(query), variables: { first: 2 } });
  expect(namesOn(data)).toEqual(['a', 'b']);
  let joined: unknown = data;
  for (const expected of [['a', 'b', 'c', 'd'], names]) {
    const after = at(joined, 'appConnections', 'pageInfo', 'endCursor');
    await list.fetchMore({ variables: { first: 2, after } });
    joined = client.readQuery({ query: gql(query), variables: { first: 2 } });
    expect(namesOn(joined)).toEqual(expected);
  }
  expect(at(joined, 'appConnections', 'pageInfo')).toMatchObject({
    hasNextPage: false,
    hasPreviousPage: false,
  });
  heard.unsubscribe();
  client.stop();
});

test("urql's relayPagination joins pages of connections", async () => {
  const client = new Client({
    url: server.graphqlUrl,
    exchanges: [
      cacheExchange({
        resolvers: { Query: { appConnections: relayPagination() } },
        keys: { AppConnectionPage: () => null },
      }),
      fetchExchange,
    ],
    fetchOptions: { headers },
    preferGetMethod: false,
  });
  let after: unknown;
  for (const expected of [['a', 'b'], ['a', 'b', 'c', 'd'], names]) {
    const { data, error } = await client.query(query, { first: 2, after });
    expect(error).toBeUndefined();
    expect(namesOn(data)).toEqual(expected);
    after = at(data, 'appConnections', 'pageInfo', 'endCursor');
  }
});

test("Relay's compiler accepts the list as a connection, and its generated query reads all pages", async () => {
  using folder = temporaryFolder();
  const root = fileURLToPath(new URL('..', import.meta.url));
  const source = join(folder.path, 'src');
  mkdirSync(source);
  writeFileSync(
    join(source, 'List.js'),
    `graphql\`
      fragment List_query on Query
      @refetchable(queryName: "ListPaginationQuery")
      @argumentDefinitions(first: { type: "Int", defaultValue: 2 }, after: { type: "String" }) {
        appConnections(first: $first, after: $after) @connection(key: "List_appConnections") {
          edges { node { id name } }
        }
      }
    \`;`,
  );
  writeFileSync(join(folder.path, 'schema.graphql'), readFileSync(join(root, 'schema.graphql')));
  writeFileSync(
    join(folder.path, 'relay.config.json'),
    JSON.stringify({ src: './src', schema: './schema.graphql', language: 'javascript' }),
  );
  await promisify(execFile)(join(root, 'node_modules/.bin/relay-compiler'), ['--noWatchman'], {
    cwd: folder.path,
  });
  const artifact = readFileSync(join(source, '__generated__/ListPaginationQuery.graphql.js'), 'utf8');
  const text: string = JSON.parse(/"text": ("(?:[^"\\]|\\.)*")/.exec(artifact)?.[1] ?? '""');
  expect(text).toContain('pageInfo');
  const read: unknown[] = [];
  for (let after: unknown = null, isMore: unknown = true; isMore; ) {
    const data = await organisation.client.request(text, { first: 2, after });
    read.push(...namesOn(data));
    after = at(data, 'appConnections', 'pageInfo', 'endCursor');
    isMore = at(data, 'appConnections', 'pageInfo', 'hasNextPage');
  }
  expect(read).toEqual(names);
});
