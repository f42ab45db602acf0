/**
 * Measures the cost of row-level security for a read by id: `npm run bench:rls`, with DATABASE_URL of an empty PostgreSQL database.
 *
 * Starts two servers in this process on one database. They differ only in that statements of the second run as the table
 * owner, for whom as a superuser no policy applies, and whose session settings never change. Measures them alternately in
 * many short rounds; the result is the median ratio within a round.
 */
import { setTimeout } from 'node:timers/promises';
import { Pool } from 'undici';
import { createServer } from '../src/app/server.ts';
import { entities } from '../src/bootstrap/entities.ts';
import { createLog } from '../src/common/log.ts';
import { Secret } from '../src/common/secret.ts';
import { readConfig } from '../src/config/read-config.ts';
import { type Database, openDatabase } from '../src/database/database.ts';
import { lazyScopedEntityManager, ownerSession } from '../src/database/driver/session.ts';
import { parseKeyring } from '../src/encryption/keyring.ts';
import { Vault } from '../src/encryption/vault.ts';
import { prepareRowMacs } from '../src/integrity/sign-rows.ts';
import { rootKey } from '../test/testkit/root-key.ts';
import { createOrganisations, median, readFor } from './in-process.ts';

const connections = 16;
const rounds = 12;
const roundMs = 1_000;

const config = { ...readConfig({ ...process.env, PORT: '0' }), production: true, fakeOkta: true };
if (!config.databaseUrl) throw new Error('set DATABASE_URL to an empty PostgreSQL database');
const log = createLog('silent');
const vault = new Vault(parseKeyring(new Secret(rootKey('bench'))), log);
const apart = await openDatabase({ kind: 'postgresql', url: config.databaseUrl }, entities, log);
const shared = await openDatabase({ kind: 'postgresql', url: config.databaseUrl }, entities, log);
for (const database of [apart, shared]) await prepareRowMacs({ database, vault });
const free = () => lazyScopedEntityManager(() => shared.asSystem().fork(), ownerSession);
const together: Database = { ...shared, forOrganisation: free, asSystem: free };
const servers = {
  on: await createServer(config, { database: apart, vault, log }),
  off: await createServer(config, { database: together, vault, log }),
};
const pools = {
  on: new Pool(servers.on.url, { connections }),
  off: new Pool(servers.off.url, { connections }),
};
type Which = keyof typeof pools;

const organisations = await createOrganisations(apart, vault, pools.on);

for (const count of [1, organisations.length]) {
  const read = { on: [] as number[], off: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    for (const which of round % 2 ? (['on', 'off'] as const) : (['off', 'on'] as const)) {
      const reads = await readFor(pools[which], roundMs, connections, organisations.slice(0, count));
      read[which].push((reads * 1_000) / roundMs);
    }
  }
  const ratios = read.on.map((each, round) => each / (read.off[round] ?? Number.NaN));
  console.log(
    `${String(count).padStart(2)} organisations: ${median(read.on).toFixed(0)} reads a second with, ` +
      `${median(read.off).toFixed(0)} without, ratio ${median(ratios).toFixed(2)}; ` +
      `statements a read ${await statementsPerRead('on', count)} with, ${await statementsPerRead('off', count)} without`,
  );
}

await Promise.all(Object.values(pools).map((pool) => pool.close()));
await Promise.all(Object.values(servers).map((server) => server.close()));
await Promise.all([apart.close(), shared.close()]);

/** Returns the average number of statements of a read; outside explicit transactions, each one is a transaction. */
async function statementsPerRead(which: Which, count: number): Promise<string> {
  const before = await transactions();
  const reads = await readFor(pools[which], roundMs, connections, organisations.slice(0, count));
  return (((await transactions()) - before) / reads).toFixed(2);
}

async function transactions(): Promise<number> {
  // PostgreSQL reports the statistics of an idle connection after at most ten seconds.
  await setTimeout(12_000);
  const { count } = await free().execute<{ count: string }>(
    'select xact_commit + xact_rollback as count from pg_stat_database where datname = current_database()',
    [],
    'get',
  );
  return Number(count);
}
