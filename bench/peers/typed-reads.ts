/**
 * Compares `oktaUsers(first: 200)` of the product with a resolver by hand: `npm run bench:reads`, see bench/README.md.
 */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { sendOperation } from './client.ts';
import { createDatabases } from './databases.ts';
import { startFlags } from './fixture.ts';
import { connections } from './load.ts';
import { graphql } from './operations.ts';
import { orExit, positive, roundOptions } from './options.ts';
import { start } from './processes.ts';
import { measureInTurns, measureRound } from './rounds.ts';
import {
  cpuSecondsPer1000,
  formatQuartiles,
  latencyQuantile,
  machine,
  machineLoad,
  median,
  ratiosPerRound,
  table,
} from './summary.ts';

const options = orExit(() => {
  const { values } = parseArgs({ options: roundOptions });
  return { rounds: positive('--rounds', values.rounds), seconds: positive('--seconds', values.seconds) };
});
console.log(`${machine()}; ${connections} connections; load before: ${machineLoad()}`);

await using databases = await createDatabases();
await using okta = await start('okta-users.ts');
const key = `bench_${randomBytes(24).toString('hex')}`;
const apiToken = randomBytes(21).toString('hex');
const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
await using product = await start(
  'product.ts',
  {
    DATABASE_URL: databases.first,
    ENCRYPTION_KEYS: `bench:${randomBytes(32).toString('base64')}`,
    BOOTSTRAP_API_KEY: key,
    HOST: '127.0.0.1',
    PORT: '0',
    TRUSTED_INSTANCE_HOSTS: new URL(okta.url).host,
  },
  startFlags,
);
await using mercurius = await start('mercurius-users.ts', { OKTA_URL: okta.url, OKTA_TOKEN: apiToken });

const clients = {
  product: { ...product, name: 'the product', headers, dialect: graphql },
  mercurius: { ...mercurius, name: 'Mercurius, undici', headers, dialect: graphql },
};
const { id } = await sendOperation(clients.product, 'create', {
  name: 'users',
  description: 'Users.',
  credentials: { instanceUrl: okta.url, apiToken },
});
const query = `query Users($id: UUID!) {
  oktaUsers(connectionId: $id, first: 200) {
    nodes { id status created lastLogin profile { login email firstName lastName title department } }
    pageInfo { hasNextPage }
  }
}`;
const body = JSON.stringify({ query, variables: { id } });
const request = { method: 'POST', path: '/graphql', body } as const;

const answers = await Promise.all(
  Object.values(clients).map(async ({ url }) =>
    JSON.stringify(
      JSON.parse(await (await fetch(`${url}/graphql`, { method: 'POST', headers, body })).text()).data,
    ),
  ),
);
if (answers[0] !== answers[1] || !answers[0]?.includes('"hasNextPage":true'))
  throw new Error(`the servers answer differently: ${answers.map((text) => text?.slice(0, 300)).join('\n')}`);

const results = await measureInTurns(
  new Map(
    Object.entries(clients).map(([name, server]) => [
      name,
      (seconds: number) => measureRound(server, { seconds }, [request]),
    ]),
  ),
  options,
);
const own = results.get('product') ?? [];
const rows = [...results].map(([name, rounds]) => [
  clients[name as keyof typeof clients].name,
  median(rounds.map(({ perSecond }) => perSecond)).toFixed(0),
  latencyQuantile(0.5, ...rounds).toFixed(1),
  latencyQuantile(0.99, ...rounds).toFixed(1),
  median(rounds.map(cpuSecondsPer1000)).toFixed(2),
  formatQuartiles(ratiosPerRound(own, rounds, ({ perSecond }) => perSecond)),
]);
console.log(
  table(
    [
      'oktaUsers(first: 200)',
      'requests/s',
      'p50 ms',
      'p99 ms',
      'CPU s per 1,000',
      'product ÷ it: requests/s',
    ],
    rows,
  ),
);
console.log(`load after: ${machineLoad()}`);
