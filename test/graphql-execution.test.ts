import { hash, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { compareWithGraphQLJs } from './testkit/fuzz/difference.ts';
import { prepareFixture } from './testkit/fuzz/fixture.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { times } from './testkit/stress.ts';

vi.setConfig({ testTimeout: 120_000 * times });

let server: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  server = await startTestServer();
  organisation = await server.newOrganisation();
});
afterAll(() => server.close());

/** A page with the cursor of its end. */
interface ShortPage {
  page: { nodes: object[]; end: { endCursor: string } };
}

const documents = 100 * times;

describe('GraphQL execution', () => {
  it(`answers ${documents} random documents like graphql-js three times, byte for byte`, async () => {
    const { apiKey, projectId, orgId } = organisation;
    const { ids, names } = await prepareFixture(server.url, apiKey, projectId);
    const cursors = ['bm90IGEgY3Vyc29y', ''];
    const other = await server.newOrganisation();
    const report = await compareWithGraphQLJs(server, {
      readKey: apiKey,
      powerlessKey: await other.newKey([]),
      examples: { ids: [...ids, orgId, randomUUID()], names: [...names, 'Another', ' '], cursors },
      ...{ seed: 20_261_128, from: 0, to: documents },
    });
    expect(report.differences).toEqual([]);
    expect(report.refused).toBeLessThan(10 * times);
    expect(report.withData).toBeGreaterThan(50);
    expect(report.withErrors).toBeGreaterThan(15);
  });

  it.each([
    ['a spread skipped beside one that is included', '{ ...F @skip(if: true) ...F }', ['id']],
    ['a spread with @include(if: false) beside one without', '{ ...F @include(if: false) ...F }', ['id']],
    ['a spread followed by the same one skipped', '{ ...F ...F @skip(if: true) }', ['id']],
    ['an inline fragment skipped beside the field', '{ ... @skip(if: true) { id } id }', ['id']],
    ['a field skipped beside its fragment', '{ id @skip(if: true) ...F }', ['id']],
    ['both directives on one spread', '{ name ...F @include(if: true) @skip(if: true) }', ['name']],
    ['only a skipped spread', '{ ...F @skip(if: true) }', []],
  ])(
    'gives the same response the fifteenth time (fast path) as the first: %s',
    async (_, selections, fields) => {
      const { client } = organisation;
      const used = selections.includes('...F') ? ' fragment F on AppConnection { id }' : '';
      const query = `{ appConnections(first: 1) { nodes ${selections} } }${used}`;
      for (let use = 1; use <= 15; use += 1) {
        const { appConnections } = await client.request<{ appConnections: { nodes: object[] } }>(query);
        expect(appConnections.nodes.map(Object.keys)).toEqual([fields]);
      }
    },
  );

  describe('of a page with more than 20 items', () => {
    const size = 45;
    const selection =
      'nodes { name description createdAt credentials { __typename } } pageInfo { hasNextPage }';
    const longPage = `page: appConnections(first: 100) { ${selection} }`;
    let apiKey: string;
    /** The page as in responses without any page of more than 20 items. */
    let expected: string;

    beforeAll(async () => {
      const { client, apiKey: key } = await server.newOrganisation();
      apiKey = key;
      for (let index = 0; index < size; index += 1) {
        const description = index % 2 === 0 ? `\u2028 "${index}" \\ € 🔑` : null;
        await client.request(createMutation, okta({ name: `long-${index}`, description }));
      }
      const nodes: string[] = [];
      for (let after: string | null = null; nodes.length < size; ) {
        const query = `query ($after: String) { page: appConnections(first: 20, after: $after) { ${selection} end: pageInfo { endCursor } } }`;
        const { page }: ShortPage = await client.request<ShortPage>(query, { after });
        nodes.push(...page.nodes.map((node) => JSON.stringify(node)));
        after = page.end.endCursor;
      }
      expected = `"page":{"nodes":[${nodes.join(',')}],"pageInfo":{"hasNextPage":false}}`;
    });

    const post = async (body: object): Promise<string> => {
      const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
      const response = await fetch(server.graphqlUrl, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
      });
      expect(response.status).toBe(200);
      return response.text();
    };

    it('has the same bytes as shorter pages, without and with caches', async () => {
      const query = `{ ${longPage} viewer { __typename } }`;
      const answer = `{"data":{${expected},"viewer":{"__typename":"Viewer"}}}`;
      expect([await post({ query }), await post({ query })]).toEqual([answer, answer]);
    });

    it('has the same bytes with GET and as a persisted query', async () => {
      const query = `{ ${longPage} }`;
      const answer = `{"data":{${expected}}}`;
      const headers = { authorization: `Bearer ${apiKey}` };
      const url = `${server.graphqlUrl}?query=${encodeURIComponent(query)}`;
      expect(await (await fetch(url, { headers })).text()).toBe(answer);
      const persistedQuery = { version: 1, sha256Hash: hash('sha256', query) };
      expect(await post({ query, extensions: { persistedQuery } })).toBe(answer);
      expect(await post({ extensions: { persistedQuery } })).toBe(answer);
    });

    it('has the same bytes beside an error', async () => {
      const query = `{ missing: appConnection(id: "${randomUUID()}") { id } ${longPage} }`;
      for (const answer of [await post({ query }), await post({ query })]) {
        expect(answer).toMatch(/^\{"errors":\[\{.*"path":\["missing"\]/);
        expect(answer.endsWith(`],"data":{"missing":null,${expected}}}`)).toBe(true);
        expect(JSON.stringify(JSON.parse(answer))).toBe(answer);
      }
    });
  });
});
