import type { EntityManager } from '@mikro-orm/postgresql';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { jobSchema } from '../src/database/job-schema.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { startOkta, tokenRejected } from './testkit/okta.ts';
import { type Created, createMutation, listQuery, okta } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 180_000 });

/** Half of the ten connections of a pool, less one. */
const share = 4;
/** Changes of one organisation are stored one after another. */
const one = 1;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const repeat = <T>(count: number, make: (index: number) => Promise<T>) =>
  Array.from({ length: count }, (_, index) => make(index));

/** Builds a request with the maximum number of aliases of a field. */
const aliases = (field: string) =>
  `query { ${Array.from({ length: 15 }, (_, index) => `a${index}: ${field}`).join(' ')} }`;

/** Counts the statements that wait for a lock. */
async function countWaiting(em: EntityManager): Promise<number> {
  await em.execute('select pg_stat_clear_snapshot()');
  const [row] = await em.execute<{ count: number }[]>(
    `select count(*)::int as count from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`,
  );
  return row?.count ?? 0;
}

/** Expects that reads of an organisation with one connection are answered. */
async function expectReads({ client }: TestOrganisation): Promise<void> {
  for (let count = 0; count < 20; count += 1) {
    const list = await client.request<{ appConnections: { totalCount: number } }>(listQuery);
    expect(list.appConnections.totalCount).toBe(1);
  }
}

// The embedded database has only one connection.
describe.runIf(testDatabaseUrl)('the share of database connections of an organisation', () => {
  it.each<
    [
      string,
      number,
      (busy: TestOrganisation) => string,
      (busy: TestOrganisation, id: string) => Promise<unknown>[],
    ]
  >([
    [
      '30 changes that wait for the lock of the audit trail',
      one,
      ({ orgId }) => `select 1 from audit_head where org_id = '${orgId}' for update`,
      ({ client, projectId: id }) =>
        repeat(30, (index) =>
          client.request(
            gql`mutation ($id: UUID!, $name: String!) { renameProject(id: $id, name: $name) { project { id } } }`,
            {
              id,
              name: `Renamed ${index}`,
            },
          ),
        ),
    ],
    [
      '30 updates that wait for the lock of one connection',
      one,
      ({ orgId }) => `select 1 from app_connection where org_id = '${orgId}' for update`,
      ({ client }, id) =>
        repeat(30, (index) =>
          client.request(
            gql`mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) { updateOktaConnection(id: $id, input: $input) { appConnection { id } } }`,
            { id, input: { description: `Changed ${index}` } },
          ),
        ),
    ],
    [
      '60 reads of the audit trail in 4 requests',
      share,
      () => 'lock table audit_event in access exclusive mode',
      ({ client }) =>
        repeat(4, () =>
          client.request(aliases('auditEvents(first: 1, filter: { outcome: "NONE" }) { nodes { seq } }')),
        ),
    ],
    [
      '15 lists of projects in one request',
      share,
      () => 'lock table project in access exclusive mode',
      ({ client }) => repeat(1, () => client.request(aliases('projects(first: 100) { nodes { id } }'))),
    ],
  ])("leaves connections for another organisation's read during %s", async (_, held, lock, ask) => {
    const [busy, other] = [await server.newOrganisation(), await server.newOrganisation()];
    const created = await busy.client.request<Created>(createMutation, okta());
    await other.client.request(createMutation, okta());
    const holder = server.asOwner();
    await holder.begin();
    await holder.execute(lock(busy));
    let answered = 0;
    const count = () => {
      answered += 1;
    };
    const pending = ask(busy, created.createOktaConnection.appConnection.id).map((one) =>
      one.then(count, count),
    );
    await until('the connections are in use', async () => (await countWaiting(holder)) >= held || undefined);
    await expectReads(other);
    expect(await countWaiting(holder)).toBe(held);
    expect(answered).toBe(0);
    await holder.rollback();
    await Promise.all(pending);
  });
});

describe.runIf(testDatabaseUrl)('the share of database connections of checks', () => {
  it("leaves connections for another organisation's read while checks of 12 organisations wait for a lock", async () => {
    await using stack = new AsyncDisposableStack();
    const checking = await startTestServer({ checkIntervalMs: 100 });
    stack.defer(() => checking.close());
    const checked = await Promise.all(repeat(12, () => checking.newOrganisation()));
    for (const { client } of checked) await client.request(createMutation, okta());
    const other = await checking.newOrganisation();
    await other.client.request(createMutation, okta());
    const holder = checking.asOwner();
    await holder.begin();
    // Each check stores its share of the rate limit of the app.
    await holder.execute('lock table rate_budget in access exclusive mode');
    const orgIds = checked.map(({ orgId }) => orgId).join();
    await checking
      .asOwner()
      .execute('update app_connection set next_check_at = now() where org_id = any(?::uuid[])', [
        `{${orgIds}}`,
      ]);
    await until('the checks run', async () => {
      const [{ count }] = await checking
        .asOwner()
        .execute<[{ count: number }]>(
          `select count(*)::int as count from ${jobSchema(checking.database.schema)}.job where state = 'active'`,
        );
      return count >= checked.length || undefined;
    });
    await until('checks wait', async () => (await countWaiting(holder)) >= share || undefined);
    await expectReads(other);
    expect(await countWaiting(holder)).toBe(share);
    await holder.rollback();
  });

  it('is not that of a change that was sent while a check of its organisation was stored', async () => {
    await using stack = new AsyncDisposableStack();
    const host = stack.use(await startOkta());
    const config = { trustedInstanceHosts: new Set([host.hostPort]) };
    const checking = await startTestServer({ checkIntervalMs: 100, config });
    stack.defer(() => checking.close());
    const checked = await Promise.all(repeat(12, () => checking.newOrganisation()));
    for (const { client } of checked) await client.request(createMutation, okta());
    const busy = await checking.newOrganisation();
    await busy.client.request(createMutation, okta({}, { instanceUrl: host.origin }));
    const owner = checking.asOwner();
    const makeDue = (orgIds: readonly string[]) =>
      owner.execute('update app_connection set next_check_at = now() where org_id = any(?::uuid[])', [
        `{${orgIds.join()}}`,
      ]);
    const [trail, budgets] = [checking.asOwner(), checking.asOwner()];
    await trail.begin();
    await trail.execute('select 1 from audit_head where org_id = ? for update', [busy.orgId]);
    // The check has a failure to store.
    host.behave(tokenRejected);
    await makeDue([busy.orgId]);
    await until('the failure waits', async () => (await countWaiting(trail)) >= 1 || undefined);
    await budgets.begin();
    await budgets.execute('lock table rate_budget in access exclusive mode');
    await makeDue(checked.map(({ orgId }) => orgId));
    await until('checks wait', async () => (await countWaiting(trail)) >= share || undefined);
    const renamed = busy.client.request(
      gql`mutation ($id: UUID!) { renameProject(id: $id, name: "Renamed") { project { name } } }`,
      { id: busy.projectId },
    );
    // It waits behind the failure by now.
    await expectReads(busy);
    await trail.rollback();
    expect(await renamed).toEqual({ renameProject: { project: { name: 'Renamed' } } });
    await budgets.rollback();
  });
});
