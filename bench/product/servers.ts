import type { Fixture, Running } from '../peers/fixture.ts';
import { operationNames } from '../peers/operations.ts';
import { titles } from '../peers/report.ts';
import { buildRequests, measureInTurns, measureRound, type Round, type Rounds } from '../peers/rounds.ts';
import {
  cpuSecondsPer1000,
  formatQuartiles,
  latencyQuantile,
  median,
  ratiosPerRound,
  table,
} from '../peers/summary.ts';

/**
 * Measures the throughput of two servers of one database, relative to one server. All share the same cores, so requests
 * per second do not show it, but processor time per request does: with the same time, each could do as much as one server.
 * Two servers that share only the cores show how much more time a request measurements because of the shared cores.
 */
export async function measureServers(fixture: Fixture, options: Rounds): Promise<string> {
  const { databases, serve } = fixture;
  await using alone = await serve('alone', await databases.copy('one'));
  await using firstApart = await serve('first apart', await databases.copy('apart_1'));
  await using secondApart = await serve('second apart', await databases.copy('apart_2'));
  const shared = await databases.copy('two');
  await using first = await serve('first of two', shared);
  await using second = await serve('second of two', shared);

  const tables: string[] = [];
  for (const operation of operationNames) {
    const requests = buildRequests(fixture, alone.dialect, operation);
    const take =
      (...servers: Running<string>[]) =>
      (seconds: number) =>
        Promise.all(servers.map((server) => measureRound(server, { seconds }, requests)));
    const measurements = { one: take(alone), apart: take(firstApart, secondApart), two: take(first, second) };
    const results = await measureInTurns(new Map(Object.entries(measurements)), options);
    const of = (name: keyof typeof measurements) => results.get(name)?.map(together) ?? [];
    const [firsts, seconds] = [0, 1].map((index) => results.get('two')?.flatMap((both) => both[index] ?? []));
    const times = (base: Round[]) =>
      formatQuartiles(ratiosPerRound(base, of('two'), cpuSecondsPer1000).map((ratio) => ratio * 2));
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
    latencyQuantile(0.5, ...rounds).toFixed(1),
    median(rounds.map(cpuSecondsPer1000)).toFixed(2),
  ];
}

/** Combines the rounds of servers that were measured concurrently. */
function together(rounds: Round[]): Round {
  const sum = (quantity: (round: Round) => number) =>
    rounds.reduce((total, round) => total + quantity(round), 0);
  return {
    perSecond: sum(({ perSecond }) => perSecond),
    latencies: rounds.flatMap(({ latencies }) => latencies),
    responseCount: sum(({ responseCount }) => responseCount),
    failures: sum(({ failures }) => failures),
    cpuSeconds: sum(({ cpuSeconds }) => cpuSeconds),
  };
}
