/**
 * Compares what the server answers to random valid documents with what graphql-js answers, byte for byte:
 * `npm run fuzz:difference -- [--seed N] [--requests 100000]`. Sends each document three times, so that later responses
 * use the caches. Exit code 1 when a response differs.
 */
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { compareWithGraphQLJs } from '../test/testkit/fuzz/difference.ts';
import { prepareFixture } from '../test/testkit/fuzz/fixture.ts';
import { startTestServer } from '../test/testkit/server.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
    requests: { type: 'string', default: '100000' },
  },
});
/** The number of documents between progress reports. */
const batchSize = 5_000;

const seed = Number(values.seed);
const requests = Number(values.requests);
const server = await startTestServer({ location: { kind: 'embedded' } });
const { apiKey, projectId, orgId } = await server.newOrganisation();
const { ids, names } = await prepareFixture(server.url, apiKey, projectId);
const other = await server.newOrganisation();
const readKey = apiKey;
const powerlessKey = await other.newKey([]);
const examples = {
  ids: [...ids, orgId, randomUUID()],
  names: [...names, 'Another', ' '],
  cursors: ['e30=', ''],
};
let differing = 0;
for (let from = 0; from < requests; from += batchSize) {
  const to = Math.min(from + batchSize, requests);
  const keys = { readKey, powerlessKey };
  const report = await compareWithGraphQLJs(server, { ...keys, examples, seed, from, to });
  const { differences, ...counts } = report;
  for (const difference of differences.slice(0, 10)) console.log('DIFFERENCE', difference);
  differing += differences.length;
  const seconds = Math.round(performance.now() / 1_000);
  console.log(`seed ${seed}: ${to} documents in ${seconds} s, ${differing} differences; of the last`, counts);
}
await server.close();
process.exitCode = differing === 0 ? 0 : 1;
