import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { compareWithGraphQLJs } from './testkit/fuzz/difference.ts';
import { prepareGround } from './testkit/fuzz/ground.ts';
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

const documents = 200 * times;

test(`${documents} random documents are answered three times as graphql-js answers them, byte for byte`, async () => {
  const { apiKey, projectId, orgId } = organisation;
  const { ids, names } = await prepareGround(server.url, apiKey, projectId);
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
  expect(report.withData).toBeGreaterThan(100);
  expect(report.withErrors).toBeGreaterThan(30);
});

test.each([
  ['a spread that is skipped beside one that is not', '{ ...F @skip(if: true) ...F }', ['id']],
  ['a spread that is not included beside one that is', '{ ...F @include(if: false) ...F }', ['id']],
  ['a spread first, and then the same one skipped', '{ ...F ...F @skip(if: true) }', ['id']],
  ['an inline fragment that is skipped beside the field', '{ ... @skip(if: true) { id } id }', ['id']],
  ['a field that is skipped beside its fragment', '{ id @skip(if: true) ...F }', ['id']],
  ['both conditions on one spread', '{ name ...F @include(if: true) @skip(if: true) }', ['name']],
  ['nothing that is not skipped', '{ ...F @skip(if: true) }', []],
])('%s gives the same the fifteenth time as the first', async (_, selections, fields) => {
  const { client } = organisation;
  const used = selections.includes('...F') ? ' fragment F on AppConnection { id }' : '';
  const query = `{ appConnections(first: 1) { nodes ${selections} } }${used}`;
  for (let use = 1; use <= 15; use += 1) {
    const { appConnections } = await client.request<{ appConnections: { nodes: object[] } }>(query);
    expect(appConnections.nodes.map(Object.keys)).toEqual([fields]);
  }
});
