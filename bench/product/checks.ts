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
const pollMs = 500;
const warmUpSeconds = 12;

/** The rate that is asked for: 10,000 checks in an hour, by both servers together. */
const checksPerHour = 10_000;
/** How long connections become due at this rate, in seconds: two rounds of the schedule. The shorter, the less drift is in a round. */
const dueSeconds = 60;

/** Connections that are due for a check. */
interface Due {
  dueCount: number;
  /** The connections that exist. */
  count: number;
  organisations: readonly Organisation[];
  /** The seconds over which the checks are spread; 0 if all are due at once. */
  spreadSeconds: number;
}

/** The checks of one round, and reads without and beside them. */
interface CheckRound {
  /** Until all connections that were due are checked. */
  seconds: number;
  alone: Reads;
  beside: Reads;
}

/**
 * Lets connections of 50 organisations, out of 10,000, become due for a check at a rate of 10,000 an hour, and measures reads by id
 * while two servers check them, and as long without checks, in turns.
 */
export async function measureChecks(fixture: Fixture, rounds: Rounds): Promise<string> {
  const dueCount = Math.round((checksPerHour / hourSeconds) * dueSeconds);
  return measureKinds(fixture, rounds, [
    { dueCount, count: checksPerHour, organisations: fixture.organisations, spreadSeconds: dueSeconds },
  ]);
}

/**
 * Makes 10,000 connections of 50 organisations due for a check at the same time, and 1,000 of one. Measures how long two servers take
 * to check all of them, and reads by id meanwhile.
 */
export async function measureCheckBursts(fixture: Fixture, rounds: Rounds): Promise<string> {
  const { organisations } = fixture;
  return measureKinds(fixture, rounds, [
    { dueCount: 10_000, count: 10_000, organisations, spreadSeconds: 0 },
    { dueCount: 1_000, count: 1_000, organisations: organisations.slice(0, 1), spreadSeconds: 0 },
  ]);
}

async function measureKinds(fixture: Fixture, { rounds }: Rounds, kinds: readonly Due[]): Promise<string> {
  const database = await fixture.databases.copy('checks');
  const environment = { ...fixture.settings, CHECK_INTERVAL_MS: String(checkIntervalMs) };
  await using first = await fixture.serve('checks', database, { environment });
  await using second = await fixture.serve('checks', database, { environment });
  const rows: string[][] = [];
  for (const due of kinds) {
    const { dueCount, count, organisations, spreadSeconds } = due;
    const measured = await withClient(database, async (client) => {
      // The copies in the fixture have credentials that cannot be decrypted.
      await client.query('delete from app_connection');
      const id = await createConnections(fixture, first, organisations, count);
      return measureRounds(client, readerOf(second, organisations[0]), id, { ...due, rounds });
    });
    const [alone, beside] = [measured.map((round) => round.alone), measured.map((round) => round.beside)];
    const duration = median(measured.map((round) => round.seconds));
    rows.push([
      `${dueCount}, ${organisations.length === 1 ? 'of one organisation' : `of ${organisations.length} organisations`}, ${spreadSeconds ? `within ${spreadSeconds} s` : 'at once'}`,
      duration.toFixed(0),
      ((dueCount / duration) * hourSeconds).toFixed(0),
      `${beside.reduce((sum, { latencies }) => sum + latencies.length, 0)}`,
      ...[0.5, 0.99].flatMap((share) => [
        latencyQuantile(share, ...alone).toFixed(1),
        latencyQuantile(share, ...beside).toFixed(1),
      ]),
      (latencyQuantile(0.99, ...beside) / latencyQuantile(0.99, ...alone)).toFixed(2),
      formatQuartiles(ratiosPerRound(beside, alone, (reads) => latencyQuantile(0.99, reads))),
      '≤ 1.3',
    ]);
  }
  return table(
    [
      'connections due',
      's until all are checked',
      'checks an hour',
      'reads beside checks',
      'p50 ms of reads alone',
      'beside',
      'p99 ms of reads alone',
      'beside',
      'p99 of all ÷ alone',
      'of each round',
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
  count: number,
): Promise<string> {
  let next = 0;
  let firstId = '';
  const work = async () => {
    for (let index = next++; index < count; index = next++) {
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

async function measureRounds(
  client: pg.Client,
  reader: Client,
  id: string,
  { dueCount, spreadSeconds, rounds }: Due & Pick<Rounds, 'rounds'>,
): Promise<CheckRound[]> {
  const pool = new Pool(reader.url, { connections: 64 });
  const measured: CheckRound[] = [];
  await readAtRate(pool, reader, id, { seconds: warmUpSeconds });
  // The other connections are not due within the measurement.
  await client.query("update app_connection set next_check_at = now() + interval '20 hours'");
  await client.query('vacuum analyze app_connection');
  let seconds = spreadSeconds;
  const measureAlone = () => readAtRate(pool, reader, id, { seconds });
  const measureBeside = async () => {
    await client.query(
      `update app_connection set next_check_at = now() + random() * make_interval(secs => $1)
        where id in (select id from app_connection order by random() limit $2)`,
      [spreadSeconds, dueCount],
    );
    const startedAt = new Date();
    const ending = new AbortController();
    const reading = readAtRate(pool, reader, id, { signal: ending.signal });
    await sleep(spreadSeconds * 1_000);
    while ((await countChecked(client, startedAt)) < dueCount) await sleep(pollMs);
    seconds = (Date.now() - startedAt.getTime()) / 1_000;
    ending.abort();
    return reading;
  };
  for (let round = 0; round < rounds; round += 1) {
    // Each comes first in turn, and both take as long: other work on the machine comes and goes within minutes.
    const early = round % 2 === 1 ? await measureAlone() : undefined;
    const beside = await measureBeside();
    measured.push({ seconds, beside, alone: early ?? (await measureAlone()) });
  }
  await pool.close();
  return measured;
}

async function countChecked(client: pg.Client, since: Date): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    `select count(*)::int from app_connection where verification_checked_at >= $1 and verification_status = 'VERIFIED'`,
    [since],
  );
  return rows[0]?.count ?? 0;
}
