import { otherColumns, withClient } from '../peers/databases.ts';
import type { Fixture, Running } from '../peers/fixture.ts';
import { type BenchRequest, fields, pageSize } from '../peers/operations.ts';
import { titles } from '../peers/report.ts';
import { buildRequests, measureInTurns, measureRound, type Round, type Rounds } from '../peers/rounds.ts';
import { formatQuartiles, latencyQuantile, ratiosPerRound, table } from '../peers/summary.ts';
import type { Options } from './options.ts';

const farPage = 100;
/** The number of different connections read from the big database, the same as in the small one. */
const readInTurn = 1_000;

/** Measures reads, pages and memory for an organisation with very many connections. */
export async function measureGrowth(fixture: Fixture, { rows, ...options }: Options): Promise<string> {
  const small = await fixture.databases.copy('small');
  const big = await fixture.databases.copy('big');
  const bigIds = await grow(big, rows);
  await using smallServer = await fixture.serve('small', small);
  await using bigServer = await fixture.serve('big', big);
  const count = rows.toLocaleString('en');

  const p50: string[][] = [];
  for (const operation of ['read', 'list'] as const) {
    const of = (server: Running<string>, ids: string[]) => {
      const requests =
        operation === 'read'
          ? ids.map((id) => server.dialect.read(id))
          : buildRequests(fixture, server.dialect, 'list');
      return (seconds: number) => measureRound(server, { seconds }, requests);
    };
    const measurements = { small: of(smallServer, fixture.ids), big: of(bigServer, bigIds) };
    const name = operation === 'read' ? titles.read : `first ${pageSize} by name`;
    p50.push(await compare(name, measurements, options));
  }
  const first = pageAfter();
  const far = pageAfter(await cursorBefore(bigServer, farPage));
  const pages = {
    first: (seconds: number) => measureRound(bigServer, { seconds }, [first]),
    far: (seconds: number) => measureRound(bigServer, { seconds }, [far]),
  };
  return [
    table(['p50 ms', 'of 1,000', `of ${count}`, 'big ÷ small', 'target'], p50),
    table(
      ['p50 ms', 'page 1', `page ${farPage}`, `page ${farPage} ÷ page 1`, 'target'],
      [await compare(`${pageSize} of ${count} by name`, pages, options)],
    ),
    table(
      ['resident memory, MiB', 'of 1,000', `of ${count}`],
      [['afterwards', smallServer.residentMiB().toFixed(0), bigServer.residentMiB().toFixed(0)]],
    ),
  ].join('\n\n');
}

/** Formats a row of a table: both latencies and their ratio. */
async function compare(
  name: string,
  measurements: Record<string, (seconds: number) => Promise<Round>>,
  options: Rounds,
): Promise<string[]> {
  const [base = [], other = []] = [
    ...(await measureInTurns(new Map(Object.entries(measurements)), options)).values(),
  ];
  const half = (...rounds: Round[]) => latencyQuantile(0.5, ...rounds);
  return [
    name,
    half(...base).toFixed(1),
    half(...other).toFixed(1),
    formatQuartiles(ratiosPerRound(other, base, half)),
    '≤ 1.3',
  ];
}

/** Copies connections up to this number, and returns random ids among them. */
async function grow(database: string, rows: number): Promise<string[]> {
  return withClient(database, async (client) => {
    const others = await otherColumns(client, 'id', 'name');
    await client.query(
      `insert into app_connection (id, name, ${others})
       with seed as (select row_number() over () - 1 as place, count(*) over () as seeds, * from app_connection)
       select gen_random_uuid(), 'grown-' || lpad(number::text, 7, '0'), ${others}
       from seed join generate_series(1, $1 - (select count(*) from app_connection)) number
         on number % seeds = place`,
      [rows],
    );
    await client.query('vacuum (freeze, analyze)');
    const { rows: some } = await client.query<{ id: string }>(
      'select id from app_connection order by random() limit $1',
      [readInTurn],
    );
    return some.map(({ id }) => id);
  });
}

function pageAfter(after?: string): BenchRequest {
  const query = `query Page($first: Int!, $after: String) {
    answer: appConnections(first: $first, after: $after) { nodes { ${fields} } pageInfo { hasNextPage endCursor } }
  }`.replaceAll(/\s+/g, ' ');
  const variables = { first: pageSize, after };
  return { method: 'POST', path: '/graphql', body: JSON.stringify({ query, variables }) };
}

/** Reads page by page, and returns the cursor before a page. */
async function cursorBefore({ url, headers }: Running<string>, page: number): Promise<string> {
  let cursor: string | undefined;
  for (let index = 1; index < page; index += 1) {
    const { path, ...init } = pageAfter(cursor);
    const response = await fetch(url + path, { ...init, headers });
    const { data, errors } = (await response.json()) as {
      data?: { answer: { nodes: object[]; pageInfo: { endCursor: string } } };
      errors?: object[];
    };
    if (data?.answer.nodes.length !== pageSize) {
      throw new Error(`page ${index} is incomplete: ${JSON.stringify(errors)}`);
    }
    cursor = data.answer.pageInfo.endCursor;
  }
  if (!cursor) throw new Error('there is no page before the first');
  return cursor;
}
