import { firstOrganisationId } from '../../../src/identity/organisations.ts';
import { withClient } from '../../peers/databases.ts';
import type { Fixture, Running } from '../../peers/fixture.ts';
import { type BenchRequest, fields, pageSize } from '../../peers/operations.ts';
import { buildRequests, measureInTurns, measureRound, type Round, type Rounds } from '../../peers/rounds.ts';
import { formatQuartiles, latencyQuantile, ratiosPerRound, table } from '../../peers/summary.ts';

const deepPage = 40;
const warmUpSeconds = 2;
/** The target of each ratio. */
export const target = '≤ 3';

type Requests = (BenchRequest | (() => BenchRequest))[];

/** The requests by what they do, the same for both servers, whose organisation has the same ids. */
async function describeRequests(
  fixture: Fixture,
  server: Running<string>,
  database: string,
): Promise<Record<string, Requests>> {
  const { ids } = fixture;
  const { rows } = await withClient(database, (client) =>
    client.query<{ id: string }>('select id from webhook_endpoint where org_id = $1', [firstOrganisationId]),
  );
  const connections = (input: string, selected = `nodes { ${fields} } pageInfo { hasNextPage endCursor }`) =>
    query(`appConnections(${input}) { ${selected} }`);
  const first = `first: ${pageSize}`;
  const filtered = (filter: string) => [connections(`${first}, filter: { ${filter} }`)];
  const events = (filter: string) => [
    query(
      `auditEvents(${first}${filter && `, filter: { ${filter} }`}) { nodes { seq at action outcome connectionName } pageInfo { hasNextPage endCursor } }`,
    ),
  ];
  const from = new Date(Date.now() - 90 * 86_400_000).toISOString();
  const rest = (path: string): BenchRequest => ({ method: 'GET', path });
  return {
    'read by id': ids.slice(0, 100).map((id) => server.dialect.read(id)),
    'read by name': [query(`appConnectionByName(name: "seed-0500") { ${fields} }`)],
    'first 20 by name': [connections(first)],
    'first 20, last check first': [
      connections(`${first}, orderBy: { field: LAST_CHECK_AT, direction: DESC }`),
    ],
    [`page ${deepPage} of 20`]: [connections(`${first}, after: "${await cursorBefore(server, deepPage)}"`)],
    'last 20': [connections(`last: ${pageSize}`)],
    'search: name contains': filtered('nameContains: "99"'),
    'search: name prefix': filtered('namePrefix: "seed-09"'),
    'filter: status': filtered('status: REJECTED'),
    'filter: health': filtered('health: UNREACHABLE'),
    'filter: tags': filtered('tags: [{ key: "team", value: "team-3" }, { key: "stage" }]'),
    'filter: nothing found': filtered('tags: [{ key: "team", value: "none" }]'),
    totalCount: [connections('first: 1', 'totalCount')],
    'totalCount of a status': [connections('first: 1, filter: { status: UNREACHABLE }', 'totalCount')],
    'audit trail, first 20': events(''),
    'audit trail of a connection': events(`connectionId: "${ids[0]}"`),
    'audit trail, action and outcome': events('action: VERIFY_CONNECTION, outcome: "UPSTREAM_UNREACHABLE"'),
    'audit trail, nothing found': events('subject: "nobody"'),
    'usage of 90 days': [
      query(
        `appConnection(id: "${ids[0]}") { usage(by: DAY, from: "${from}") { total { calls p99Ms } buckets { start counts { calls } } callers { calls } } }`,
      ),
    ],
    'users and last use': [query(`appConnection(id: "${ids[0]}") { lastUsedAt usedBy { label calls } }`)],
    'health and history': [
      query(`appConnection(id: "${ids[5]}") { health { status since history { from until status } } }`),
    ],
    'API keys, first 20': [
      query(`apiKeys(${first}) { nodes { id name lastUsedAt } pageInfo { hasNextPage endCursor } }`),
    ],
    'projects, first 20': [query(`projects(${first}) { nodes { id name } }`)],
    'messages of a webhook endpoint': [rest(`/api/v1/webhook-endpoints/${rows[0]?.id}/messages`)],
    'request through a connection': ids
      .slice(0, 100)
      .map((id) => rest(`/api/v1/app-connections/okta/${id}/proxy/api/v1/users/me`)),
    create: buildRequests(fixture, server.dialect, 'create'),
  };
}

/** Measures requests to a server of each database in turns. */
export async function measureRequests(
  fixture: Fixture,
  databases: { small: string; big: string },
  options: Rounds,
): Promise<string> {
  await using small = await fixture.serve('small', databases.small);
  await using big = await fixture.serve('big', databases.big);
  const half = (...rounds: Round[]) => latencyQuantile(0.5, ...rounds);
  const rows: string[][] = [];
  for (const [name, requests] of Object.entries(await describeRequests(fixture, small, databases.small))) {
    const measurements = new Map(
      [small, big].map((server) => [
        server.name,
        (seconds: number) => measureRound(server, { seconds }, requests),
      ]),
    );
    const results = await measureInTurns(measurements, { ...options, warmUpSeconds });
    const [ofSmall, ofBig] = [results.get('small') ?? [], results.get('big') ?? []];
    rows.push([
      name,
      half(...ofSmall).toFixed(1),
      half(...ofBig).toFixed(1),
      formatQuartiles(ratiosPerRound(ofBig, ofSmall, half)),
      target,
    ]);
  }
  return table(['p50 ms of requests', 'small', 'big', 'big ÷ small', 'target'], rows);
}

function query(selection: string): BenchRequest {
  const body = JSON.stringify({ query: `{ answer: ${selection} }`.replaceAll(/\s+/g, ' ') });
  return { method: 'POST', path: '/graphql', body };
}

/** Reads page by page, and returns the cursor before a page. */
async function cursorBefore({ url, headers }: Running<string>, page: number): Promise<string> {
  let cursor: string | undefined;
  for (let index = 1; index < page; index += 1) {
    const after = cursor ? `, after: "${cursor}"` : '';
    const { path, ...init } = query(`appConnections(first: ${pageSize}${after}) { pageInfo { endCursor } }`);
    const response = await fetch(url + path, { ...init, headers });
    const text = await response.text();
    cursor = JSON.parse(text).data?.answer.pageInfo.endCursor;
    if (!cursor) throw new Error(`page ${index} is missing: ${text}`);
  }
  return cursor ?? '';
}
