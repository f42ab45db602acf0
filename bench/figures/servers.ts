import { operationNames } from '../peers/operations.ts';
import { titles } from '../peers/report.ts';
import { inTurns, type Round, type Rounds, requestsOf, takeRound } from '../peers/rounds.ts';
import type { Ground } from '../peers/stage.ts';
import { cpuOfThousand, latencyAt, median, ratiosOf, spread, table } from '../peers/summary.ts';

/**
 * How many times as much two servers of one database do as one. All share the same cores, so requests a second cannot
 * say; the processor time that a request takes does: of two that take no more than one, each could do as much as it.
 */
export async function measureServers(ground: Ground, options: Rounds): Promise<string> {
  await using alone = await ground.serve('alone', await ground.databases.copy('one'));
  const shared = await ground.databases.copy('two');
  await using first = await ground.serve('first of two', shared);
  await using second = await ground.serve('second of two', shared);

  const tables: string[] = [];
  for (const operation of operationNames) {
    const requests = requestsOf(ground, alone.dialect, operation);
    const take = (servers: (typeof alone | typeof first | typeof second)[]) => (seconds: number) =>
      Promise.all(servers.map((server) => takeRound(server, { seconds }, requests)));
    const seen = await inTurns(
      new Map([
        ['one', take([alone])],
        ['two', take([first, second])],
      ]),
      options,
    );
    const [one = [], two = []] = ['one', 'two'].map((name) => seen.get(name)?.map(together));
    const each = [0, 1].map((index) => seen.get('two')?.flatMap((rounds) => rounds[index] ?? []) ?? []);
    const row = (name: string, rounds: Round[]) => [
      name,
      median(rounds.map(({ perSecond }) => perSecond)).toFixed(0),
      latencyAt(0.5, ...rounds).toFixed(1),
      median(rounds.map(cpuOfThousand)).toFixed(2),
    ];
    tables.push(
      table(
        [titles[operation], 'requests/s', 'p50 ms', 'CPU s per 1,000', 'two ÷ one, by CPU', 'target'],
        [
          [...row('one server alone', one), '', ''],
          [...row('the first of two', each[0] ?? []), '', ''],
          [...row('the second of two', each[1] ?? []), '', ''],
          [
            ...row('the two together', two),
            spread(ratiosOf(one, two, cpuOfThousand).map((ratio) => ratio * 2)),
            '≥ 1.7',
          ],
        ],
      ),
    );
  }
  return tables.join('\n\n');
}

/** What several servers did at the same time. */
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
