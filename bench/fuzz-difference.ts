/**
 * Compares what the server answers to random valid documents with what graphql-js answers, byte for byte:
 * `npm run fuzz:difference -- [--seed N] [--requests 100000]`. Each document is sent three times, so that it comes out
 * of the cache. Exit code 1 when an answer differs.
 */
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { compareWithGraphQLJs } from '../test/testkit/fuzz/difference.ts';
import { prepareGround } from '../test/testkit/fuzz/ground.ts';
import { startTestServer } from '../test/testkit/server.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
    requests: { type: 'string', default: '100000' },
  },
});
const seed = Number(values.seed);
const requests = Number(values.requests);
const server = await startTestServer({ location: { kind: 'embedded' } });
const { apiKey, projectId, orgId } = await server.newOrganisation();
const { ids, names } = await prepareGround(server.url, apiKey, projectId);
const other = await server.newOrganisation();
const { differences, ...counts } = await compareWithGraphQLJs(server, {
  readKey: apiKey,
  powerlessKey: await other.newKey([]),
  examples: { ids: [...ids, orgId, randomUUID()], names: [...names, 'Another', ' '], cursors: ['e30=', ''] },
  ...{ seed, from: 0, to: requests },
});
await server.close();
for (const difference of differences.slice(0, 10)) console.log('DIFFERENCE', difference);
console.log(`seed ${seed}: ${requests} documents, ${differences.length} differences`, counts);
process.exitCode = differences.length === 0 ? 0 : 1;
