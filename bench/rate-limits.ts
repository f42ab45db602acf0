/**
 * Measures the cost of rate limits for a read by id: `npm run bench:rate`, with DATABASE_URL of an empty PostgreSQL database.
 *
 * Starts two servers in this process on one database. They differ only in that the first counts requests, with the usual
 * leases and an unreachable limit. Measures them alternately in many short rounds; the result is the median ratio within
 * a round, of reads per second and of processor time per read (including the client), which is more reliable on a shared
 * machine.
 */
import { Pool } from 'undici';
import { addOrganisation } from '../src/administration/organisations.ts';
import { createServer } from '../src/app/server.ts';
import { generateApiKey } from '../src/auth/api-keys.ts';
import { entities } from '../src/bootstrap/entities.ts';
import { createLog } from '../src/common/log.ts';
import { Secret } from '../src/common/secret.ts';
import { readConfig } from '../src/config/read-config.ts';
import { type Database, openDatabase } from '../src/database/database.ts';
import { parseKeyring } from '../src/encryption/keyring.ts';
import { Vault } from '../src/encryption/vault.ts';
import { prepareRowMacs } from '../src/integrity/sign-rows.ts';
import { defaultRates } from '../src/rate-limits/defaults.ts';
import { rootKey } from '../test/testkit/root-key.ts';

const connections = 16;
const rounds = 20;
const roundMs = 1_000;

const config = { ...readConfig({ ...process.env, PORT: '0' }), production: true, fakeOkta: true };
if (!config.databaseUrl) throw new Error('set DATABASE_URL to an empty PostgreSQL database');
const log = createLog('silent');
const vault = new Vault(parseKeyring(new Secret(rootKey('bench'))), log);
const database = await openDatabase({ kind: 'postgresql', url: config.databaseUrl }, entities, log);
await prepareRowMacs({ database, vault });
let statementCount = 0;
const countingDatabase: Database = {
  ...database,
  systemConnection: {
    query: async (statement) => {
      statementCount += 1;
      return database.systemConnection?.query(statement);
    },
  },
};
const points = 1_000_000_000;
const unreachableLimits = {
  caller: { ...defaultRates.caller, points },
  organisation: { ...defaultRates.organisation, points },
};
const servers = {
  on: await createServer(
    { ...config, rateLimits: true },
    { database: countingDatabase, vault, log, rates: unreachableLimits },
  ),
  off: await createServer({ ...config, rateLimits: false }, { database, vault, log }),
};
const pools = {
  on: new Pool(servers.on.url, { connections }),
  off: new Pool(servers.off.url, { connections }),
};
type Which = keyof typeof pools;

const organisations: { key: string; id: string }[] = [];
for (let index = 0; index < 50; index += 1) {
  const administratorKey = generateApiKey();
  await database
    .asSystem()
    .transactional((em) =>
      addOrganisation(em, vault, { name: `Bench ${index}`, projectName: 'Bench', administratorKey }),
    );
  const key = administratorKey.reveal();
  const credentials = { instanceUrl: 'https://example.okta.com', apiToken: 'any' };
  const { createOktaConnection } = await sendQuery<{
    createOktaConnection: { appConnection: { id: string } };
  }>(
    'off',
    key,
    'mutation ($input: CreateOktaConnectionInput!) { createOktaConnection(input: $input) { appConnection { id } } }',
    { input: { name: 'bench', credentials } },
  );
  organisations.push({ key, id: createOktaConnection.appConnection.id });
}

for (const count of [1, organisations.length]) {
  const read = { on: [] as Round[], off: [] as Round[] };
  const before = statementCount;
  for (let round = 0; round < rounds; round += 1) {
    for (const which of round % 2 ? (['on', 'off'] as const) : (['off', 'on'] as const)) {
      read[which].push(await readFor(which, organisations.slice(0, count)));
    }
  }
  const compare = (what: keyof Round) => {
    const ratios = read.on.map((each, round) => each[what] / (read.off[round]?.[what] ?? Number.NaN));
    const [on, off] = [read.on, read.off].map((all) => median(all.map((each) => each[what])).toFixed(0));
    const [low, high] = [0.25, 0.75].map((share) => quantile(ratios, share).toFixed(2));
    return `${on} with, ${off} without, ratio ${median(ratios).toFixed(2)} (quartiles ${low}, ${high})`;
  };
  console.log(`${count} keys`);
  console.log(`  reads per second: ${compare('perSecond')}`);
  console.log(`  processor time per read, µs: ${compare('cpuMicroseconds')}`);
  const reads = read.on.reduce((sum, each) => sum + each.reads, 0);
  console.log(`  ${statementCount - before} rate limit statements for ${reads} reads`);
}

await Promise.all(Object.values(pools).map((pool) => pool.close()));
await Promise.all(Object.values(servers).map((server) => server.close()));
await database.close();

interface Round {
  reads: number;
  perSecond: number;
  cpuMicroseconds: number;
}

/** Reads for one round, with all keys in turn. */
async function readFor(which: Which, from: typeof organisations): Promise<Round> {
  const before = process.cpuUsage();
  const start = performance.now();
  const end = start + roundMs;
  let reads = 0;
  const worker = async () => {
    while (performance.now() < end) {
      const { key, id } = from[reads % from.length] ?? { key: '', id: '' };
      reads += 1;
      await sendQuery(which, key, 'query ($id: UUID!) { appConnection(id: $id) { id name } }', { id });
    }
  };
  await Promise.all(Array.from({ length: connections }, worker));
  const { user, system } = process.cpuUsage(before);
  const seconds = (performance.now() - start) / 1_000;
  return { reads, perSecond: reads / seconds, cpuMicroseconds: (user + system) / reads };
}

/** @throws when the response has errors, because a fast error is not a valid measurement */
async function sendQuery<T>(which: Which, key: string, query: string, variables: object): Promise<T> {
  const { body } = await pools[which].request({
    path: '/graphql',
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = (await body.json()) as { data: T; errors?: unknown };
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN;
}
