import type { Fixture } from '../peers/fixture.ts';
import { operationNames } from '../peers/operations.ts';
import { titles } from '../peers/report.ts';
import { buildRequests, measureInTurns, measureRound, type Round, type Rounds } from '../peers/rounds.ts';
import { cpuSecondsPer1000, formatQuartiles, median, ratiosPerRound, table } from '../peers/summary.ts';

/** Measures one server with the requests of one organisation, and with those of many organisations in turn. */
export async function measureOrganisations(fixture: Fixture, options: Rounds): Promise<string> {
  await using server = await fixture.serve('organisations', await fixture.databases.copy('organisations'));
  const rows: string[][] = [];
  for (const operation of operationNames) {
    const measurement = (organisations: Fixture['organisations']) => {
      const requests = buildRequests(fixture, server.dialect, operation, organisations);
      return (seconds: number) => measureRound(server, { seconds }, requests);
    };
    const measurements = {
      one: measurement(fixture.organisations.slice(0, 1)),
      all: measurement(fixture.organisations),
    };
    const results = await measureInTurns(new Map(Object.entries(measurements)), options);
    const [one = [], all = []] = [results.get('one'), results.get('all')];
    const perSecond = (round: Round) => round.perSecond;
    rows.push([
      titles[operation],
      median(one.map(perSecond)).toFixed(0),
      median(all.map(perSecond)).toFixed(0),
      formatQuartiles(ratiosPerRound(all, one, perSecond)),
      '≥ 0.9',
      median(one.map(cpuSecondsPer1000)).toFixed(2),
      median(all.map(cpuSecondsPer1000)).toFixed(2),
    ]);
  }
  const many = `${fixture.organisations.length} organisations`;
  return table(
    [
      'requests/s',
      '1 organisation',
      many,
      `${many} ÷ 1`,
      'target',
      'CPU s per 1,000, 1 organisation',
      `CPU s per 1,000, ${many}`,
    ],
    rows,
  );
}
