import pg from 'pg';
import { openStores, type Stores } from '../../src/bootstrap/stores.ts';
import { createLog } from '../../src/common/log.ts';
import { readConfig } from '../../src/config/read-config.ts';
import type { Fixture } from '../peers/fixture.ts';
import { formatQuartiles, ratiosPerRound, table } from '../peers/summary.ts';
import { measureWork, type Site } from './capacity/background.ts';
import { fillDatabase } from './capacity/fill.ts';
import { measureRequests, target } from './capacity/requests.ts';
import { seedOrganisation } from './capacity/seed.ts';
import { measureService } from './capacity/service.ts';
import { formatMedian, measureSizes, startStatements } from './capacity/statements.ts';
import type { Options } from './options.ts';

/**
 * Compares a database of many organisations, with a thousand connections and five thousand events each, with one that has only the
 * measured organisation: requests, the work of servers without requests, starts, and statements; and measures the sizes of rows.
 */
export async function measureCapacity(
  fixture: Fixture,
  { organisations, ...options }: Options,
): Promise<string> {
  const { databases } = fixture;
  const small = await databases.copy('capacity');
  await seedOrganisation(fixture, small);
  const big = await databases.copyOf(small, 'capacity_big');
  const open = (url: string) => openSite(fixture, url);
  {
    await using site = await open(big);
    let last = performance.now();
    await fillDatabase(big, site.stores, organisations, (step) => {
      const now = performance.now();
      if (step) console.log(`${step}: ${((now - last) / 1_000).toFixed(0)} s`);
      last = now;
    });
  }
  await using smallSite = await open(small);
  await using bigSite = await open(big);
  const sizes = await measureSizes(bigSite.client);
  const name = (url: string) => new URL(url).pathname.slice(1);
  const statements = await startStatements(bigSite.client, { small: name(small), big: name(big) });
  return [
    sizes,
    await measureStarts(fixture, { small, big }, options.rounds),
    await measureWork({ small: smallSite, big: bigSite }, options),
    await measureRequests(fixture, { small, big }, options),
    await statements.report(),
    await measureService(fixture, big, bigSite.client, options),
  ].join('\n\n');
}

async function openSite(fixture: Fixture, url: string): Promise<Site & AsyncDisposable> {
  const config = readConfig({ NODE_ENV: 'production', ...fixture.settings, DATABASE_URL: url });
  const stores: Stores = await openStores(config, createLog('silent'));
  await stores.unlock();
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return {
    ...{ stores, client },
    async [Symbol.asyncDispose]() {
      await client.end();
      await stores.close();
    },
  };
}

async function measureStarts(
  fixture: Fixture,
  databases: { small: string; big: string },
  rounds: number,
): Promise<string> {
  const times = { small: [] as number[], big: [] as number[] };
  for (let round = 0; round < rounds; round += 1)
    for (const size of ['small', 'big'] as const) {
      const started = performance.now();
      await using _server = await fixture.serve(size, databases[size]);
      times[size].push(performance.now() - started);
    }
  const ratios = formatQuartiles(ratiosPerRound(times.big, times.small, (time) => time));
  return table(
    ['ms', 'small', 'big', 'big ÷ small', 'target'],
    [['start of a server', formatMedian(times.small), formatMedian(times.big), ratios, target]],
  );
}
