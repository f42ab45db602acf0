import { randomUUID } from 'node:crypto';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import type { App } from '../src/apps/app.ts';
import { createApps } from '../src/apps/index.ts';
import { encodeCursor } from '../src/connections/cursor.ts';
import { type Created, createMutation, okta } from './testkit/operations.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

/** An app that few connections lead to. */
const rareApp: App = {
  id: 'rare',
  name: 'Rare',
  description: 'An app that few connections lead to.',
  methods: [
    {
      id: 'rare-way',
      label: 'Rare way',
      description: 'The only way.',
      fields: {
        text: {
          label: 'Text',
          kind: 'TEXT',
          rule: z.string(),
          required: true,
          placeholder: '',
          help: 'Text.',
          whereToFind: 'Anywhere.',
        },
      },
      verify: async () => ({ status: 'VERIFIED', account: null, upstreamRequestId: null }),
    },
  ],
};

const rows = 100_000;

/** Half of them of a project; one in ten deleted; few of the rare app, and few rejected. */
const fill = `
  insert into app_connection (id, org_id, project_id, name, app, method, created_at, updated_at, deleted_at,
    is_platform_managed_credentials, credentials_hash, public_credentials, sealed_credentials, data_key_id,
    verification_status, verification_checked_at)
  select gen_random_uuid(), c.org_id, case when i % 2 = 0 then ?::uuid end, md5(i::text) || '-' || i,
    case when i % 1000 = 0 then 'rare' else 'okta' end, case when i % 1000 = 0 then 'rare-way' else 'api-token' end,
    now() - i * interval '1 minute', now() - abs(hashint4(i)) % 100000 * interval '1 minute',
    case when i % 10 = 9 then now() end,
    false, c.credentials_hash, c.public_credentials, c.sealed_credentials, c.data_key_id,
    case when i % 1000 = 1 then 'REJECTED' else 'VERIFIED' end, now()
  from app_connection c, generate_series(1, ${rows}) i where c.org_id = ?`;

const list = gql`
  query List(
    $projectId: UUID, $filter: AppConnectionFilter, $orderBy: AppConnectionOrder,
    $first: Int, $after: String, $last: Int, $before: String
  ) {
    appConnections(
      projectId: $projectId, filter: $filter, orderBy: $orderBy,
      first: $first, after: $after, last: $last, before: $before
    ) {
      nodes { id name }
      pageInfo { hasNextPage hasPreviousPage }
    }
  }
`;
const now = Date.now();
const minutesAgo = (minutes: number) => new Date(now - minutes * 60_000).toISOString();

describe('among 100,000 connections of one organisation', () => {
  let server: TestServer;
  let organisation: TestOrganisation;
  beforeAll(async () => {
    server = await startTestServer({ apps: [...createApps({ trustedHosts: new Set() }), rareApp] });
    organisation = await server.newOrganisation();
    await organisation.client.request<Created>(createMutation, okta());
    const em = server.database.fork();
    const t = performance.now();
    await em.execute(fill, [organisation.projectId, organisation.orgId]);
    await em.execute('analyze app_connection');
    console.log('filled', performance.now() - t);
  });
  afterAll(() => server.close());

  const fields = { NAME: 'name', CREATED_AT: 'createdAt', UPDATED_AT: 'updatedAt' } as const;
  const directions = { ASC: 'asc', DESC: 'desc' } as const;
  const filters: Record<string, Record<string, unknown>> = {
    none: {},
    app: { app: 'OKTA' }, 'rare app': { app: 'RARE' },
    method: { method: 'API_TOKEN' }, 'rare method': { method: 'RARE_WAY' },
    status: { status: 'VERIFIED' }, 'rare status': { status: 'REJECTED' }, 'no status': { status: 'UNREACHABLE' },
    prefix: { namePrefix: 'a' }, 'rare prefix': { namePrefix: 'abcd' }, 'no prefix': { namePrefix: 'x' },
    contains: { nameContains: 'ab' },
    'created from': { createdFrom: minutesAgo(1_000) }, 'created to': { createdTo: minutesAgo(1_000) },
    'created between': { createdFrom: minutesAgo(6_000), createdTo: minutesAgo(5_000) },
    'updated from': { updatedFrom: minutesAgo(50) }, 'updated to': { updatedTo: minutesAgo(50) },
    'updated between': { updatedFrom: minutesAgo(6_000), updatedTo: minutesAgo(5_900) },
    'everything': { app: 'OKTA', method: 'API_TOKEN', status: 'REJECTED', namePrefix: 'a', nameContains: 'b', createdFrom: minutesAgo(90_000), updatedTo: minutesAgo(10) },
  };

  test('no page is looked for in all of them', async () => {
    const connection = server.database.fork().getConnection();
    const execute = connection.execute.bind(connection);
    const seen: [string, unknown[]][] = [];
    vi.spyOn(connection, 'execute').mockImplementation((...args: any[]) => {
      if (/from "app_connection"/.test(args[0])) { seen.push([args[0], args[1]]); return Promise.resolve([]) as any; }
      return (execute as any)(...args);
    });
    const em = server.database.fork();
    const scans: string[] = [];
    const shapes: Record<string, number> = {};
    let n = 0, tReq = 0, tEx = 0;
    for (const [field, key] of Object.entries(fields))
      for (const [direction, dir] of Object.entries(directions))
        for (const [name, filter] of Object.entries(filters))
          for (const scope of [{}, { projectId: organisation.projectId }, { projectId: null }])
            for (const paging of ['first', 'after', 'last', 'before']) {
              const cursor = encodeCursor({ field: key, direction: dir }, { name: 'abc', createdAt: new Date(now - 3e9), updatedAt: new Date(now-2e9), id: randomUUID() } as any);
              const page = { first: { first: 20 }, after: { first: 20, after: cursor }, last: { last: 20 }, before: { last: 20, before: cursor } }[paging];
              seen.length = 0;
              let t = performance.now();
              await organisation.client.request(list, { filter, orderBy: { field, direction }, ...scope, ...page });
              tReq += performance.now() - t; t = performance.now();
              for (const [sql, params] of [...seen]) {
                n++;
                const plan = ((await (execute as any)(`explain ${sql}`, params)) as any[]).map((r) => r['QUERY PLAN']).join('\n');
                const what = `${field} ${direction} ${name} ${JSON.stringify(Object.values(scope))} ${paging} ${sql.includes('limit ?') ? params.at(-1) : ''}`;
                if (/Seq Scan on app_connection/.test(plan)) scans.push(what + '\n' + plan);
                const shape = plan.split('\n').filter(l => !/Cond|Filter|Sort Key/.test(l)).map(l => l.replace(/\(cost.*/, '').replace(/_(name|created|updated)/, '_X').trim()).join(' / ');
                shapes[`${name}: ${shape}`] = (shapes[`${name}: ${shape}`] ?? 0) + 1;
              }
              tEx += performance.now() - t;
            }
    console.log(n, tReq, tEx, shapes);
    console.log(scans.slice(0, 10).join('\n'));
    expect(scans.length).toBe(0);
  }, 200_000);
});
