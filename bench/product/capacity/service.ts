import type pg from 'pg';
import type { Fixture } from '../../peers/fixture.ts';
import type { BenchRequest } from '../../peers/operations.ts';
import { cpuSecondsOf } from '../../peers/processes.ts';
import { buildRequests, measureInTurns, measureRound, type Rounds } from '../../peers/rounds.ts';
import { median, table } from '../../peers/summary.ts';

const cores = 2;
const warmUpSeconds = 4;

/**
 * Measures the processor time of a server and of PostgreSQL for each request, which other programs on the machine affect less than the
 * number of requests, and computes how many requests the cores serve.
 */
export async function measureService(
  fixture: Fixture,
  database: string,
  client: pg.Client,
  options: Rounds,
): Promise<string> {
  await using server = await fixture.serve('service', database);
  const { rows } = await client.query<{ pid: number }>(
    `select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int as pid`,
  );
  const postmaster = rows[0]?.pid ?? 0;
  const proxied = fixture.ids.slice(0, 100).map((id): BenchRequest => {
    const path = `/api/v1/app-connections/okta/${id}/proxy/api/v1/users/me`;
    return { method: 'GET', path };
  });
  const requests = {
    'read by id': buildRequests(fixture, server.dialect, 'read'),
    'first 20 by name': buildRequests(fixture, server.dialect, 'list'),
    create: buildRequests(fixture, server.dialect, 'create'),
    'request through a connection': proxied,
  };
  const measurements = Object.entries(requests).map(
    ([name, list]) =>
      [
        name,
        async (seconds: number) => {
          const before = cpuSecondsOf(postmaster);
          const round = await measureRound(server, { seconds }, list);
          const ofPostgres = cpuSecondsOf(postmaster) - before;
          const perRequest = (total: number) => (total * 1_000) / round.responseCount;
          return {
            ...{ server: perRequest(round.cpuSeconds), postgres: perRequest(ofPostgres) },
            perSecond: round.perSecond,
          };
        },
      ] as const,
  );
  const results = await measureInTurns(new Map(measurements), { ...options, warmUpSeconds });
  return table(
    [
      'processor time of a request, ms',
      'server',
      'PostgreSQL',
      `${cores} cores serve, a second`,
      'measured beside the client, a second',
    ],
    [...results].map(([name, rounds]) => {
      const [ofServer, ofPostgres] = [
        median(rounds.map((each) => each.server)),
        median(rounds.map((each) => each.postgres)),
      ];
      return [
        name,
        ofServer.toFixed(2),
        ofPostgres.toFixed(2),
        ((cores * 1_000) / (ofServer + ofPostgres)).toFixed(0),
        median(rounds.map((each) => each.perSecond)).toFixed(0),
      ];
    }),
  );
}
