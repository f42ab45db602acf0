import { within } from '../peers/databases.ts';
import { type Asked, fields, pageSize } from '../peers/operations.ts';
import { titles } from '../peers/report.ts';
import { inTurns, type Round, type Rounds, requestsOf, takeRound } from '../peers/rounds.ts';
import type { Ground, Running } from '../peers/stage.ts';
import { latencyAt, ratiosOf, spread, table } from '../peers/summary.ts';
import type { Options } from './options.ts';

const farPage = 100;
/** The number of different connections read from the big database, the same as in the small one. */
const readInTurn = 1_000;

/** Measures reads, pages and memory for an organisation with very many connections. */
export async function measureGrowth(ground: Ground, { rows, ...options }: Options): Promise<string> {
  const small = await ground.databases.copy('small');
  const big = await ground.databases.copy('big');
  const idsOfBig = await grow(big, rows);
  await using smallServer = await ground.serve('small', small);
  await using bigServer = await ground.serve('big', big);
  const count = rows.toLocaleString('en');

  const p50: string[][] = [];
  for (const operation of ['read', 'list'] as const) {
    const of = (server: Running<string>, ids: string[]) => {
      const asked =
        operation === 'read'
          ? ids.map((id) => server.dialect.read(id))
          : requestsOf(ground, server.dialect, 'list');
      return (seconds: number) => takeRound(server, { seconds }, asked);
    };
    const takes = { small: of(smallServer, ground.ids), big: of(bigServer, idsOfBig) };
    const name = operation === 'read' ? titles.read : `first ${pageSize} by name`;
    p50.push(await compare(name, takes, options));
  }
  const first = pageAfter();
  const far = pageAfter(await cursorBefore(bigServer, farPage));
  const pages = {
    first: (seconds: number) => takeRound(bigServer, { seconds }, [first]),
    far: (seconds: number) => takeRound(bigServer, { seconds }, [far]),
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
  takes: Record<string, (seconds: number) => Promise<Round>>,
  options: Rounds,
): Promise<string[]> {
  const [base = [], other = []] = [...(await inTurns(new Map(Object.entries(takes)), options)).values()];
  const half = (...rounds: Round[]) => latencyAt(0.5, ...rounds);
  return [
    name,
    half(...base).toFixed(1),
    half(...other).toFixed(1),
    spread(ratiosOf(other, base, half)),
    '≤ 1.3',
  ];
}

/** Copies connections up to this number, and returns random ids among them. */
async function grow(database: string, rows: number): Promise<string[]> {
  return within(database, async (client) => {
    const { rows: columns } = await client.query<{ name: string }>(
      `select column_name as name from information_schema.columns
       where table_schema = current_schema and table_name = 'app_connection' and column_name not in ('id', 'name')`,
    );
    const others = columns.map(({ name }) => name).join(', ');
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

function pageAfter(after?: string): Asked {
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
    const { path, ...asked } = pageAfter(cursor);
    const answer = await fetch(url + path, { ...asked, headers });
    const { data, errors } = (await answer.json()) as {
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
