/**
 * Measures the cost of rate limits for a read by id: `npm run bench:rate`, with DATABASE_URL of an empty PostgreSQL database.
 *
 * Starts two servers in this process on one database. They differ only in that the first counts requests, with the usual
 * leases and an unreachable limit. Measures them alternately in many short rounds; the result is the median ratio within
 * a round, of reads per second and of processor time per read (including the client), which is more reliable on a shared
 * machine.
 */
import { Pool } from 'undici';
import { createServer } from '../src/app/server.ts';
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
import { type BenchOrganisation, createOrganisations, median, quantile, readFor } from './in-process.ts';

const connections = 16;
const rounds = 20;
const roundMs = 1_000;

const config = { ...readConfig({ ...process.env, PORT: '0' }), production: true, fakeOkta: true };
if (!config.databaseUrl) throw new Error('set DATABASE_URL to an empty PostgreSQL database');
const log = createLog('silent');
const vault = new Vault(parseKeyring(new Secret(rootKey('bench'))), log);
const database = await openDatabase({ kind: 'postgresql', url: config.databaseUrl }, entities, log);
await prepareRowMacs({ database, vault });
const { systemConnection } = database;
let statementCount = 0;
const countingDatabase: Database = {
  ...database,
  ...(systemConnection && {
    systemConnection: {
      query: async (statement) => {
        statementCount += 1;
        return systemConnection.query(statement);
      },
    },
  }),
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

const organisations = await createOrganisations(database, vault, pools.off);

for (const count of [1, organisations.length]) {
  const read = { on: [] as Round[], off: [] as Round[] };
  const before = statementCount;
  for (let round = 0; round < rounds; round += 1) {
    for (const which of round % 2 ? (['on', 'off'] as const) : (['off', 'on'] as const)) {
      read[which].push(await measureRound(which, organisations.slice(0, count)));
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
async function measureRound(which: Which, from: readonly BenchOrganisation[]): Promise<Round> {
  const before = process.cpuUsage();
  const start = performance.now();
  const reads = await readFor(pools[which], roundMs, connections, from);
  const { user, system } = process.cpuUsage(before);
  const seconds = (performance.now() - start) / 1_000;
  return { reads, perSecond: reads / seconds, cpuMicroseconds: (user + system) / reads };
}
