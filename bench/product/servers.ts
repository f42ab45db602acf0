import { operationNames } from '../peers/operations.ts';
import { titles } from '../peers/report.ts';
import { inTurns, type Round, type Rounds, requestsOf, takeRound } from '../peers/rounds.ts';
import type { Ground, Running } from '../peers/stage.ts';
import { cpuOfThousand, latencyAt, median, ratiosOf, spread, table } from '../peers/summary.ts';

/**
 * Measures the throughput of two servers of one database, relative to one server. All share the same cores, so requests
 * per second do not show it, but processor time per request does: with the same time, each could do as much as one server.
 * Two servers that share only the cores show how much more time a request takes because of the shared cores.
 */
export async function measureServers(ground: Ground, options: Rounds): Promise<string> {
  const { databases, serve } = ground;
  await using alone = await serve('alone', await databases.copy('one'));
  await using firstApart = await serve('first apart', await databases.copy('apart_1'));
  await using secondApart = await serve('second apart', await databases.copy('apart_2'));
  const shared = await databases.copy('two');
  await using first = await serve('first of two', shared);
  await using second = await serve('second of two', shared);

  const tables: string[] = [];
  for (const operation of operationNames) {
    const requests = requestsOf(ground, alone.dialect, operation);
    const take =
      (...servers: Running<string>[]) =>
      (seconds: number) =>
        Promise.all(servers.map((server) => takeRound(server, { seconds }, requests)));
    const takes = { one: take(alone), apart: take(firstApart, secondApart), two: take(first, second) };
    const seen = await inTurns(new Map(Object.entries(takes)), options);
    const of = (name: keyof typeof takes) => seen.get(name)?.map(together) ?? [];
    const [firsts, seconds] = [0, 1].map((index) => seen.get('two')?.flatMap((both) => both[index] ?? []));
    const times = (base: Round[]) =>
      spread(ratiosOf(base, of('two'), cpuOfThousand).map((ratio) => ratio * 2));
    tables.push(
      table(
        [
          titles[operation],
          'requests/s',
          'p50 ms',
          'CPU s per 1,000',
          'two of one database ÷ it, by CPU',
          'target',
        ],
        [
          [...formatCells('one server alone', of('one')), times(of('one')), '≥ 1.7'],
          [...formatCells('two of databases of their own', of('apart')), times(of('apart')), '≥ 1.7'],
          [...formatCells('two of one database', of('two')), '', ''],
          [...formatCells('of these, the first', firsts ?? []), '', ''],
          [...formatCells('and the second', seconds ?? []), '', ''],
        ],
      ),
    );
  }
  return tables.join('\n\n');
}

function formatCells(name: string, rounds: Round[]): string[] {
  return [
    name,
    median(rounds.map(({ perSecond }) => perSecond)).toFixed(0),
    latencyAt(0.5, ...rounds).toFixed(1),
    median(rounds.map(cpuOfThousand)).toFixed(2),
  ];
}

/** Combines the rounds of servers that were measured concurrently. */
function together(rounds: Round[]): Round {
  const sum = (what: (round: Round) => number) => rounds.reduce((total, round) => total + what(round), 0);
  return {
    perSecond: sum(({ perSecond }) => perSecond),
    latencies: rounds.flatMap(({ latencies }) => latencies),
    answers: sum(({ answers }) => answers),
    failures: sum(({ failures }) => failures),
    cpuSeconds: sum(({ cpuSeconds }) => cpuSeconds),
  };
}
