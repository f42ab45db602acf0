import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { testDatabaseUrl } from './testkit/database.ts';
import { type Created, createMutation, listQuery, okta } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 60_000 });

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
    const waiting = async () => {
      await holder.execute('select pg_stat_clear_snapshot()');
      const [row] = await holder.execute<{ count: number }[]>(
        `select count(*)::int as count from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'`,
      );
      return row?.count ?? 0;
    };
    await until('the connections are in use', async () => (await waiting()) >= held || undefined);
    for (const client of Array.from({ length: 20 }, () => other.client)) {
      const list = await client.request<{ appConnections: { totalCount: number } }>(listQuery);
      expect(list.appConnections.totalCount).toBe(1);
    }
    expect(await waiting()).toBe(held);
    expect(answered).toBe(0);
    await holder.rollback();
    await Promise.all(pending);
  });
});
