import type { EntityManager } from '@mikro-orm/postgresql';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { deleteOrganisation } from '../src/administration/delete-organisations.ts';
import { createApps } from '../src/apps/index.ts';
import { AuditHead } from '../src/audit/audit-event.entity.ts';
import { deleteOldHistory } from '../src/connections/checks/delete-old-history.ts';
import {
  findDueHosts,
  scheduleConnections,
  spareUsedConnections,
} from '../src/connections/checks/find-due.ts';
import { connectionWork } from '../src/connections/connection-work.ts';
import { purgeUnusedBudgets } from '../src/connections/rate-budget/budget-store.ts';
import { countBudgets } from '../src/connections/rate-budget/count-budgets.ts';
import { deleteExpiredUsage } from '../src/connections/usage/delete-usage.ts';
import type { Database } from '../src/database/database.ts';
import { purgeExpiredWindows } from '../src/rate-limits/rate-limits.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { organisationCommand } from './testkit/organisation-command.ts';
import { countBlocksRead, countRowsRead, countRowsReadByGenericPlan } from './testkit/query-plan.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { changeRows } from './testkit/stored-rows.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const rows = 20_000;
/** PostgreSQL reads a few rows of catalogues, leases and heads of trails too. */
const few = 100;
/** The entries of all connections in an index take four times as many. */
const fewBlocks = 20;

/** The tables with this number of rows, about. */
const tables = [
  'app_connection',
  'rate_budget',
  'rate_limit',
  'connection_status_history',
  'connection_usage',
];

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  const { client, orgId } = await server.newOrganisation();
  await client.request(createMutation, okta());
  const em = server.asOwner();
  const columns = await em.execute<{ name: string }[]>(
    `select column_name as name from information_schema.columns where table_schema = current_schema
      and table_name = 'app_connection' and column_name not in ('id', 'name', 'project_id', 'next_check_at', 'check_every',
        'verification_status', 'verification_code')`,
  );
  const others = columns.map(({ name }) => name).join(', ');
  // In a project; one in ten is rejected and never checked, and one in ten is checked once a week.
  await em.execute(
    `insert into app_connection (id, name, project_id, next_check_at, check_every, verification_status, verification_code, ${others})
      select gen_random_uuid(), 'copy-' || i, (select id from project where org_id = ? limit 1),
        case when i % 10 <> 1 then now() + make_interval(hours => case when i % 10 = 2 then 150 else i % 24 end + 1) end,
        case when i % 10 = 2 then 168 end, case when i % 10 = 1 then 'REJECTED' else 'VERIFIED' end,
        case when i % 10 = 1 then 'CREDENTIALS_REJECTED' end, ${others}
      from app_connection cross join generate_series(1, ${rows}) i where org_id = ?`,
    [orgId, orgId],
  );
  await em.execute(
    'delete from app_connection where next_check_at is null and check_every is null and verification_status <> ?',
    ['REJECTED'],
  );
  const later = Date.now() + 3_600_000;
  await em.execute(
    `insert into rate_budget (org_id, connection_id, bucket, revision, state, expire)
      select ?::uuid, gen_random_uuid(), '/api/v1/users', 1, '{}', ${later} from generate_series(1, ${rows})`,
    [orgId],
  );
  await em.execute(
    `insert into rate_limit (key, points, expire) select 'caller ' || i, 1, ${later} from generate_series(1, ${rows}) i`,
  );
  await em.execute(
    `insert into connection_status_history (org_id, connection_id, since, until, status)
      select org_id, id, null, now() - random() * interval '80 days', 'VERIFIED' from app_connection where org_id = ?`,
    [orgId],
  );
  await em.execute(
    `insert into connection_usage (org_id, connection_id, hour, outcome, status_class, calls, bytes_up, bytes_down)
      select org_id, id, now() - random() * interval '80 days', 'OK', 2, 1, 0, 0 from app_connection where org_id = ?`,
    [orgId],
  );
  for (const table of tables) await em.execute(`analyze ${table}`);
});
afterAll(() => server.close());

interface Statement {
  sql: string;
  values: readonly unknown[];
}

/** Records the statements of work, and returns those that read or change rows of these tables. */
async function record(work: (database: Database) => Promise<unknown>): Promise<Statement[]> {
  const statements: Statement[] = [];
  const recording = (em: EntityManager): EntityManager =>
    new Proxy(em, {
      get(target, name) {
        if (name === 'execute')
          return (sql: string, values: unknown[] = [], ...rest: []) => {
            statements.push({ sql, values });
            return target.execute(sql, values, ...rest);
          };
        if (name === 'transactional')
          return (task: (tx: EntityManager) => Promise<unknown>) =>
            target.transactional((tx) => task(recording(tx as EntityManager)));
        const value = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  await work({ ...server.database, asSystem: () => recording(server.database.asSystem()) });
  return statements.filter(
    ({ sql }) => /^\s*(select .* from|update|delete)/s.test(sql) && !sql.includes('jobs"'),
  );
}

/** The statements that read more than `most`, by the plan for their values, or by another one. */
async function findExpensive(
  statements: readonly Statement[],
  count: (em: EntityManager, sql: string, values: readonly unknown[]) => Promise<number> = countRowsRead,
  most = few,
): Promise<string[]> {
  const expensive: string[] = [];
  expect(statements.length).toBeGreaterThan(0);
  for (const { sql, values } of statements) {
    const read = await count(server.asOwner(), sql, values);
    if (read > most) expensive.push(`${read}: ${sql}`);
  }
  return expensive;
}

type Work = [title: string, work: (database: Database) => Promise<unknown>];

const apps = createApps({ trustedHosts: new Set() });
const searches: Work[] = [
  ['giving connections a time for their check', (database) => scheduleConnections({ apps, database })],
  ['counting rate budgets in use', (database) => countBudgets(database)],
];
/** They could read an index from one end to the other, whose entries are no rows. */
const ranges: Work[] = [
  ['postponing checks of connections that are used', (database) => spareUsedConnections({ apps, database })],
  ['finding hosts whose check is due', (database) => findDueHosts({ apps, database })],
];
const purges: Work[] = [
  ['deleting rate budgets that are not used', (database) => purgeUnusedBudgets({ database })],
  ['deleting windows of rate limits that have ended', (database) => purgeExpiredWindows({ database })],
  ['deleting old usage', (database) => deleteExpiredUsage({ database })],
  ['deleting the old history of connections', (database) => deleteOldHistory({ database })],
];

describe(`work for all organisations that finds nothing to do among ${rows} rows reads at most ${few} of them`, () => {
  it.each([...searches, ...ranges, ...purges])('%s', async (_, work) => {
    expect(await findExpensive(await record(work))).toEqual([]);
  });

  it.each(ranges)('%s, in few blocks of an index', async (_, work) => {
    expect(await findExpensive(await record(work), countBlocksRead, fewBlocks)).toEqual([]);
  });

  it.each(purges)('%s, once PostgreSQL plans the statement without its values', async (_, work) => {
    expect(await findExpensive(await record(work), countRowsReadByGenericPlan)).toEqual([]);
  });
});

describe('scheduled work on connections', () => {
  it('reaches another organisation while 2,000 connections of one are due', async () => {
    const { client, orgId } = await server.newOrganisation();
    await client.request(createMutation, okta());
    const em = server.asOwner();
    await em.execute(
      `update app_connection set revoke_at = now() - interval '1 hour'
        where id in (select id from app_connection where org_id <> ? limit 2000)`,
      [orgId],
    );
    await em.execute('update app_connection set revoke_at = now() where org_id = ?', [orgId]);
    try {
      const work = connectionWork(server, {
        ...{ name: 'test', intervalMs: 1_000, dueColumn: 'revoke_at', failure: 'failed' },
        buildCondition: () => ({ sql: 'revoke_at is not null', params: [] }),
        work: async () => undefined,
      });
      const due = await work.findDue();
      expect(due.filter(({ group }) => group === orgId)).toHaveLength(1);
      expect(due.length).toBeLessThan(1_000);
    } finally {
      await em.execute('update app_connection set revoke_at = null where revoke_at is not null');
    }
  });
});

describe('the data key of an organisation', () => {
  it(`is found without reading those of ${rows} others`, async () => {
    const em = server.asOwner();
    await em.execute(
      `insert into data_key (id, org_id, purpose, wrapped, root_key_id, made_under, created_at, mac)
        select gen_random_uuid(), gen_random_uuid(), 'SEAL', '', root_key_id, made_under, now(), 'none'
        from (select * from data_key limit 1) as known cross join generate_series(1, ${rows})`,
    );
    try {
      await em.execute('analyze data_key');
      // As the vault looks for it.
      const sql =
        'select * from data_key where org_id = ? and purpose = ? order by created_at desc, id desc limit 1';
      const [known] = await em.execute<{ orgId: string }[]>('select id as "orgId" from organisation limit 1');
      expect(await countRowsRead(em, sql, [known?.orgId, 'SEAL'])).toBeLessThanOrEqual(few);
    } finally {
      await em.execute('delete from data_key where org_id not in (select id from organisation)');
    }
  });
});

describe('the deletion of an organisation', () => {
  it(`reads at most ${few} of ${rows} rows of another one in each statement`, async () => {
    const { client, orgId } = await server.newOrganisation();
    await client.request(createMutation, okta());
    await organisationCommand(server, 'delete', orgId);
    await changeRows(server, AuditHead, { orgId }, () => ({ deleteAt: new Date(Date.now() - 1_000) }));
    const statements = await record((database) =>
      deleteOrganisation({ database, vault: server.vault }, orgId),
    );
    // The keys of rate limits are texts, which are searched once for an organisation.
    expect(await findExpensive(statements.filter(({ sql }) => !sql.includes('from rate_limit')))).toEqual([]);
  });

  it(`reads at most ${few} of ${rows} connections to delete a project`, async () => {
    const { orgId } = await server.newOrganisation();
    const [project] = await server
      .asOwner()
      .execute<{ id: string }[]>('select id from project where org_id = ?', [orgId]);
    // The foreign key's own statement, which no plan shows.
    const sql = 'select 1 from only app_connection where ?::uuid = project_id for key share';
    expect(await countRowsRead(server.asOwner(), sql, [project?.id])).toBeLessThanOrEqual(few);
  });
});
