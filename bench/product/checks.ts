import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { Pool } from 'undici';
import { type Client, sendOperation } from '../peers/client.ts';
import { withClient } from '../peers/databases.ts';
import type { Fixture, Organisation, Running } from '../peers/fixture.ts';
import type { Rounds } from '../peers/rounds.ts';
import { formatQuartiles, latencyQuantile, median, ratiosPerRound, table } from '../peers/summary.ts';
import { type Reads, readAtRate } from './read-at-rate.ts';

const concurrentCreates = 8;
const hourSeconds = 3_600;
/** As `checkIntervalMs` of `npm start`. */
const checkIntervalMs = 30_000;
const pollMs = 100;

/** Connections that are due for a check. */
interface Due {
  dueCount: number;
  organisations: readonly Organisation[];
  /** The seconds over which the checks are spread; 0 if all are due at once. */
  spreadSeconds: number;
}

/** A burst of checks. */
interface Burst {
  /** Until all connections that were due are checked. */
  seconds: number;
  alone: Reads;
  beside: Reads;
}

/**
 * Makes 10,000 connections of 50 organisations due for a check at the same time, and 1,000 of one, and 500 of 50 organisations in
 * three minutes, which are 10,000 an hour. Measures how long two servers take to check all of them, and reads by id meanwhile.
 */
export async function measureChecks(fixture: Fixture, { rounds, seconds }: Rounds): Promise<string> {
  const database = await fixture.databases.copy('checks');
  const environment = { ...fixture.settings, CHECK_INTERVAL_MS: String(checkIntervalMs) };
  await using first = await fixture.serve('checks', database, { environment });
  await using second = await fixture.serve('checks', database, { environment });
  const { organisations: all } = fixture;
  const kinds: Due[] = [
    { dueCount: 10_000, organisations: all, spreadSeconds: 0 },
    { dueCount: 1_000, organisations: all.slice(0, 1), spreadSeconds: 0 },
    { dueCount: 500, organisations: all, spreadSeconds: 180 },
  ];
  const rows: string[][] = [];
  for (const { dueCount, organisations, spreadSeconds } of kinds) {
    const bursts = await withClient(database, async (client) => {
      // The copies in the fixture have credentials that cannot be decrypted.
      await client.query('delete from app_connection');
      const id = await createConnections(fixture, first, organisations, dueCount);
      return measureBursts(client, readerOf(second, organisations[0]), id, {
        rounds,
        seconds,
        spreadSeconds,
      });
    });
    const [alone, beside] = [bursts.map((burst) => burst.alone), bursts.map((burst) => burst.beside)];
    const duration = median(bursts.map((burst) => burst.seconds));
    rows.push([
      `${dueCount}, ${organisations.length === 1 ? 'of one organisation' : `of ${organisations.length} organisations`}, ${spreadSeconds ? `within ${spreadSeconds} s` : 'at once'}`,
      duration.toFixed(0),
      ((dueCount / duration) * hourSeconds).toFixed(0),
      latencyQuantile(0.99, ...alone).toFixed(1),
      latencyQuantile(0.99, ...beside).toFixed(1),
      formatQuartiles(ratiosPerRound(beside, alone, (reads) => latencyQuantile(0.99, reads))),
      '≥ 10000 an hour, ≤ 1.3',
    ]);
  }
  return table(
    [
      'connections due',
      's until all are checked',
      'checks an hour',
      'p99 ms of reads alone',
      'p99 ms beside checks',
      'p99 ÷ alone',
      'target',
    ],
    rows,
  );
}

function readerOf(server: Running<string>, organisation: Organisation | undefined): Client {
  return { ...server, headers: { ...server.headers, authorization: `Bearer ${organisation?.key}` } };
}

/** Creates the connections, and returns the id of one of the first organisation. */
async function createConnections(
  { oktaUrl }: Fixture,
  server: Running<string>,
  organisations: readonly Organisation[],
  dueCount: number,
): Promise<string> {
  let next = 0;
  let firstId = '';
  const work = async () => {
    for (let index = next++; index < dueCount; index = next++) {
      const { id } = await sendOperation(
        readerOf(server, organisations[index % organisations.length]),
        'create',
        {
          name: `due-${index}`,
          description: 'It is due for a check.',
          credentials: { instanceUrl: oktaUrl, apiToken: `token-${index}` },
        },
      );
      if (index === 0) firstId = id;
    }
  };
  await Promise.all(Array.from({ length: concurrentCreates }, work));
  return firstId;
}

async function measureBursts(
  client: pg.Client,
  reader: Client,
  id: string,
  { rounds, seconds, spreadSeconds }: Rounds & Pick<Due, 'spreadSeconds'>,
): Promise<Burst[]> {
  const pool = new Pool(reader.url, { connections: 64 });
  const bursts: Burst[] = [];
  await readAtRate(pool, reader, id, { seconds });
  for (let round = 0; round < rounds; round += 1) {
    const alone = await readAtRate(pool, reader, id, { seconds });
    await client.query(
      'update app_connection set next_check_at = now() + random() * make_interval(secs => $1)',
      [spreadSeconds],
    );
    const started = performance.now();
    const ending = new AbortController();
    const reading = readAtRate(pool, reader, id, { signal: ending.signal });
    await sleep(spreadSeconds * 1_000);
    while (await isAnyDue(client)) await sleep(pollMs);
    const duration = (performance.now() - started) / 1_000;
    ending.abort();
    bursts.push({ seconds: duration, alone, beside: await reading });
  }
  await pool.close();
  return bursts;
}

async function isAnyDue(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ isDue: boolean }>(
    'select exists (select from app_connection where next_check_at <= now()) as "isDue"',
  );
  return rows[0]?.isDue ?? false;
}
