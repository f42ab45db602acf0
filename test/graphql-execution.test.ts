import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { compareWithGraphQLJs } from './testkit/fuzz/difference.ts';
import { prepareFixture } from './testkit/fuzz/fixture.ts';
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
});
