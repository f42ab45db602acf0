import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { AppConnection } from '../src/connections/app-connection.entity.ts';
import type { Sql } from '../src/database/sql.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { parcelDepot } from './testkit/second-app.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { compileSql } from './testkit/sql.ts';

const rows = 100_000;

/** One row in 50 is in the project, one in ten is deleted, one in a thousand is of the other app or rejected. */
const fill = `
  insert into app_connection (
    id, org_id, project_id, name, app, method, created_at, updated_at, deleted_at, is_platform_managed_credentials,
    credentials_hash, public_credentials, sealed_credentials, data_key_id, verification_status, verification_checked_at, mac,
    failing_since, next_check_at, expires_at, last_verified_at
  )
  select
    gen_random_uuid(), c.org_id, case when i % 50 = 0 then ?::uuid end, md5(i::text) || '-' || i,
    case when i % 1000 = 0 then 'parcel-depot' else 'okta' end, case when i % 1000 = 0 then 'signed-requests' else 'api-token' end,
    now() - i * interval '1 minute', now() - abs(hashint4(i)) % ${rows} * interval '1 minute',
    case when i % 10 = 9 then now() end, false,
    '', '{}', '', c.data_key_id, case when i % 1000 = 1 then 'REJECTED' else 'VERIFIED' end,
    now() - i * interval '1 second', 'none, as they are only read',
    case when i % 1000 = 1 then now() - i * interval '1 hour' end, case when i % 1000 <> 1 then now() + i * interval '1 second' end,
    case when i % 1000 <> 1 then now() + i * interval '1 minute' end,
    case when i % 1000 <> 1 then now() - i * interval '1 second' end
  from app_connection c, generate_series(1, ${rows}) i
  where c.org_id = ?`;

const orders = ['NAME', 'CREATED_AT', 'UPDATED_AT', 'SINCE', 'LAST_CHECK_AT', 'NEXT_CHECK_AT', 'EXPIRES_AT']
  .flatMap((field) =>
    ['ASC', 'DESC'].map((direction) => ({ name: `${field}_${direction}`, field, direction })),
  )
  // In one direction: a document has at most 15 aliases.
  .concat({ name: 'LAST_GOOD_AT_ASC', field: 'LAST_GOOD_AT', direction: 'ASC' });

/** The orders that have an index for a project too. */
const ordersOfProject = orders.slice(0, 6);

/** Builds a document that requests one page in each order with these arguments. */
const inEveryOrder = (page: (order: string) => string, requested = orders) => gql`
  query Find($projectId: UUID, $filter: AppConnectionFilter) {
    ${requested.map(
      ({ name, field, direction }) => `${name}: appConnections(
        projectId: $projectId, filter: $filter, orderBy: { field: ${field}, direction: ${direction} }, ${page(name)}
      ) { nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }`,
    )}
  }
`;

type Pages = Record<string, { pageInfo: { startCursor: string; endCursor: string } }>;

/** The selects of connections that the server sent. */
const queries: Sql[] = [];
let server: TestServer;
let organisation: TestOrganisation;
let ends: Pages;
let starts: Pages;
beforeAll(async () => {
  server = await startTestServer({
    wrap: (database) => ({
      ...database,
      select: (entity, orgId, rest, ...how) => {
        if (Object.is(entity, AppConnection)) queries.push(rest);
        return database.select(entity, orgId, rest, ...how);
      },
    }),
    apps: [...createApps({ trustedHosts: new Set() }), parcelDepot({ origin: 'https://depot.example' })],
  });
  organisation = await server.newOrganisation();
  await organisation.client.request(createMutation, okta());
  const em = server.asOwner();
  // Building the indexes once is far faster than updating them per row, above all on the embedded database.
  const indexes: { name: string; definition: string }[] = await em.execute(`
    select indexname as name, indexdef as definition from pg_indexes
    where tablename = 'app_connection' and indexname <> 'app_connection_pkey'`);
  for (const { name } of indexes) await em.execute(`drop index "${name}"`);
  await em.execute(fill, [organisation.projectId, organisation.orgId]);
  for (const { definition } of indexes) await em.execute(definition);
  // Without the trigger, which would take as long as all the rest.
  await em.execute(
    `insert into connection_tag (org_id, connection_id, key, value)
     select org_id, id, 'stage', case when app = 'okta' then 'common' else 'rare' end
     from app_connection where org_id = ? and (project_id is not null or app <> 'okta' or random() < 0.2)`,
    [organisation.orgId],
  );
  await em.execute('analyze app_connection');
  await em.execute('analyze connection_tag');
  ends = await organisation.client.request<Pages>(inEveryOrder(() => 'first: 30'));
  starts = await organisation.client.request<Pages>(inEveryOrder(() => 'last: 30'));
}, 120_000);
afterAll(() => server.close());

const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString();
const filters: [string, Record<string, unknown>][] = [
  ['no filter', {}],
  ['a common app', { app: 'OKTA' }],
  ['a rare app', { app: 'PARCEL_DEPOT' }],
  ['a common method', { method: 'API_TOKEN' }],
  ['a rare method', { method: 'SIGNED_REQUESTS' }],
  ['a common status', { status: 'VERIFIED' }],
  ['a rare status', { status: 'REJECTED' }],
  ['a status without rows', { status: 'UNREACHABLE' }],
  ['a common health', { health: 'VERIFIED' }],
  ['a rare health', { health: 'REJECTED' }],
  ['expiresBefore', { expiresBefore: minutesAgo(-500) }],
  ['lastGoodBefore', { lastGoodBefore: minutesAgo(-500) }],
  ['a common prefix', { namePrefix: 'a' }],
  ['a rare prefix', { namePrefix: 'abcd' }],
  ['a substring', { nameContains: 'ab' }],
  ['a common tag', { tags: [{ key: 'stage', value: 'common' }] }],
  ['a rare tag', { tags: [{ key: 'stage', value: 'rare' }] }],
  ['createdFrom without an end', { createdFrom: minutesAgo(50_000) }],
  ['a short range of createdAt', { createdFrom: minutesAgo(6_000), createdTo: minutesAgo(5_900) }],
  ['updatedTo without a start', { updatedTo: minutesAgo(50) }],
  ['a short range of updatedAt', { updatedFrom: minutesAgo(6_000), updatedTo: minutesAgo(5_900) }],
  ['several filters', { app: 'OKTA', status: 'VERIFIED', nameContains: 'b', createdTo: minutesAgo(10) }],
];

/** Both kinds of database have PostgreSQL's planner: on the embedded one, which takes ten times as long, a few filters suffice. */
const onEmbedded = new Set(['no filter', 'a rare health', 'a substring', 'several filters']);
const tested = filters.filter(([name]) => testDatabaseUrl || onEmbedded.has(name));

describe('listing 100,000 connections', () => {
  it.each(tested)('needs no sequential scan in any order with %s', async (_, filter) => {
    const { client, projectId } = organisation;
    const pages: ((order: string) => string)[] = [
      () => 'first: 10',
      (order) => `first: 10, after: "${ends[order]?.pageInfo.endCursor}"`,
      () => 'last: 10',
      (order) => `last: 10, before: "${starts[order]?.pageInfo.startCursor}"`,
    ];
    const em = server.asOwner();
    queries.length = 0;
    for (const page of pages) {
      for (const [scope, requested] of [
        [{}, orders],
        [{ projectId }, ordersOfProject],
        [{ projectId: null }, ordersOfProject],
      ] as const) {
        const variables: Record<string, unknown> = { filter, ...scope };
        await client.request(inEveryOrder(page, [...requested]), variables);
      }
    }
    // For half of the pages, a cursor causes a second query for its other side.
    expect(queries).toHaveLength((orders.length + 2 * ordersOfProject.length) * (1 + 2 + 1 + 2));
    // PostgreSQL's cost estimate: a sequential scan costs thousands, a page from the right index about 15.
    // A tag is in another table: the hundred connections that have it are read one by one.
    const ofFilter = 'tags' in filter ? 1_500 : 500;
    const mostCost = Object.keys(filter).length === 0 ? 30 : ofFilter;
    for (const { text, values } of queries.map(compileSql)) {
      const sql = `select * from app_connection ${text.replaceAll(/\$\d+/g, '?')}`;
      const plan: Record<string, string>[] = await em.execute(`explain ${sql}`, [...values]);
      const lines = plan.flatMap((line) => Object.values(line)).join('\n');
      expect(lines, sql).toMatch(/Scan .*on app_connection/);
      expect(Number(/cost=[\d.]+\.\.([\d.]+)/.exec(lines)?.[1]), `${sql}\n${lines}`).toBeLessThan(mostCost);
      expect(lines, sql).not.toMatch(/Seq Scan on app_connection/);
    }
  });
});
