import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { GraphQLClient } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { verifyChain } from '../src/audit/verify-chain.ts';
import { entities } from '../src/bootstrap/entities.ts';
import { createLog } from '../src/common/log.ts';
import { Secret } from '../src/common/secret.ts';
import { purgeExpired } from '../src/connections/operations/purge.ts';
import { purgeIdempotentRequests } from '../src/connections/persistence/idempotency.ts';
import { cleanUpBatchRows } from '../src/database/delete-in-batches.ts';
import { inSession, lazyScopedEntityManager, ownerSession } from '../src/database/driver/session.ts';
import type { DatabaseLocation } from '../src/database/location.ts';
import { openOrm } from '../src/database/open-orm.ts';
import { purgeExpiredWindows } from '../src/rate-limits/rate-limits.ts';
import { lastingData, testDatabaseUrl } from './testkit/database.ts';
import { startProgram } from './testkit/in-process.ts';
import { startOkta } from './testkit/okta.ts';
import { type Created, createMutation, okta } from './testkit/operations.ts';
import { spawnServer, until } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

// Some of these start processes, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

type Execute = Pick<ReturnType<TestServer['asOwner']>, 'execute'>;

/** Copies each connection `count` times as deleted 40 days ago. */
async function addExpired(em: Execute, count: number): Promise<void> {
  const columns = await em.execute<{ name: string }[]>(
    `select column_name as name from information_schema.columns where table_schema = current_schema
       and table_name = 'app_connection' and column_name not in ('id', 'name', 'deleted_at')`,
  );
  const others = columns.map(({ name }) => `"${name}"`).join(', ');
  await em.execute(
    `insert into app_connection (id, name, deleted_at, ${others})
     select gen_random_uuid(), 'expired-' || number, now() - interval '40 days', ${others}
     from app_connection cross join generate_series(1, ${count}) number where deleted_at is null`,
  );
}

const countRows = async (em: Execute, from: string) => {
  const [row] = await em.execute<{ count: number }[]>(`select count(*)::int as count from ${from}`);
  return row?.count ?? -1;
};

const purge = (signal?: AbortSignal) =>
  purgeExpired({ database: server.database, vault: server.vault, deletedRetentionDays: 30 }, signal);

async function organisationWithExpired(count: number): Promise<TestOrganisation> {
  const organisation = await server.newOrganisation();
  await organisation.client.request(createMutation, okta());
  await addExpired(server.asOwner(), count);
  await organisation.client.request(
    `mutation { deleteAppConnection(id: "${await getConnectionId(organisation)}") { id } }`,
  );
  return organisation;
}

async function getConnectionId({ orgId }: TestOrganisation): Promise<string> {
  const [row] = await server
    .asOwner()
    .execute<{ id: string }[]>('select id from app_connection where org_id = ? and deleted_at is null', [
      orgId,
    ]);
  return row?.id ?? '';
}

describe('cleaning up', () => {
  it('purges expired connections in small transactions with an event each, without reading credentials', async () => {
    const organisations = [
      await organisationWithExpired(2 * cleanUpBatchRows + 50),
      await organisationWithExpired(1),
      await organisationWithExpired(cleanUpBatchRows),
    ];
    const before = server.logs().length;
    await purge();
    const em = server.asOwner();
    expect(await countRows(em, "app_connection where deleted_at < now() - interval '30 days'")).toBe(0);
    for (const [index, count] of [2 * cleanUpBatchRows + 50, 1, cleanUpBatchRows].entries()) {
      const { orgId } = organisations[index] ?? { orgId: '' };
      const events = `audit_event where org_id = '${orgId}' and action = 'PURGE_CONNECTION'`;
      expect(await countRows(em, events)).toBe(count);
      expect(await countRows(em, `(select distinct connection_id from ${events}) each`)).toBe(count);
      // The deletion by hand, the creation and the purges are one whole chain.
      const chain = await verifyChain(() => server.database.asSystem(), server.vault, orgId);
      expect(chain).toEqual({ events: count + 2 });
    }
    const [most] = await em.execute<{ count: number }[]>(
      `select count(*)::int as count from audit_event where action = 'PURGE_CONNECTION'
       group by xmin::text order by count desc limit 1`,
    );
    expect(most?.count).toBe(cleanUpBatchRows);
    expect(server.logs().slice(before)).not.toContain('sealed_credentials');
  });

  it.each([
    [
      'idempotency keys',
      'idempotent_request',
      `insert into idempotent_request (org_id, caller, key, fingerprint, outcome, created_at, mac)
       select id, 'key:' || number, number::text, '', '{}', now() - interval '2 days', 'none'
       from organisation, generate_series(1, 1050) number where id = '00000000-0000-0000-0000-000000000000'`,
      (signal?: AbortSignal) => purgeIdempotentRequests({ database: server.database }, signal),
    ],
    [
      'rate-limit windows',
      'rate_limit',
      `insert into rate_limit (key, points, expire) select 'old ' || number, 1, 1 from generate_series(1, 1050) number`,
      (signal?: AbortSignal) => purgeExpiredWindows({ database: server.database }, signal),
    ],
  ])('deletes expired %s in small transactions', async (_, table, insert, forget) => {
    const em = server.asOwner();
    await em.execute(insert);
    const rows = await countRows(em, table);
    const before = server.logs().length;
    expect(await forget(AbortSignal.abort())).toBe(0);
    expect(await countRows(em, table)).toBe(rows);
    expect(await forget()).toBe(1050);
    const deleted = [
      ...server
        .logs()
        .slice(before)
        .matchAll(/delete from \w+ where ctid[^"]*?(\d+) rows? affected/g),
    ];
    expect(deleted.map(([, count]) => Number(count))).toEqual([200, 200, 200, 200, 200, 50]);
  });

  it('leaves the rest for the next run when the purge is aborted', async () => {
    const { orgId } = await organisationWithExpired(3 * cleanUpBatchRows);
    const stopping = new AbortController();
    const expired = `app_connection where org_id = '${orgId}' and deleted_at < now() - interval '30 days'`;
    const stopped = server.database.changes.listen(orgId);
    const purging = purge(stopping.signal);
    // The first batch has just been committed, or is about to be.
    await stopped.next(30_000);
    stopping.abort();
    await purging;
    stopped.stop();
    const left = await countRows(server.asOwner(), expired);
    expect(left).toBeGreaterThan(0);
    expect(left % cleanUpBatchRows).toBe(0);
    await purge();
    expect(await countRows(server.asOwner(), expired)).toBe(0);
  });

  it.runIf(testDatabaseUrl)("does not wait for another server's clean-up or for locked rows", async () => {
    const { orgId } = await organisationWithExpired(3);
    const expired = `app_connection where org_id = '${orgId}' and deleted_at < now() - interval '30 days'`;
    const other = server.asOwner();
    await other.begin();
    await other.execute('select pg_advisory_xact_lock(4216017334)');
    await purge();
    expect(await countRows(server.asOwner(), expired)).toBe(3);
    await other.rollback();
    const holder = server.asOwner();
    await holder.begin();
    await holder.execute(`select id from ${expired} limit 1 for update`);
    await purge();
    expect(await countRows(server.asOwner(), expired)).toBe(1);
    await holder.rollback();
    await purge();
    expect(await countRows(server.asOwner(), expired)).toBe(0);
  });

  it('answers an in-flight create on SIGTERM during a purge of 4,000 connections, and continues the purge after restart', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    await using slow = await startOkta();
    const apiKey = `key-${randomUUID()}`;
    const settings = {
      ...data,
      BOOTSTRAP_API_KEY: apiKey,
      ...(data.DATABASE_URL && { NODE_ENV: 'production', ENCRYPTION_KEYS: rootKey('k1') }),
      TRUSTED_INSTANCE_HOSTS: slow.hostPort,
    };
    const location: DatabaseLocation = data.DATABASE_URL
      ? { kind: 'postgresql', url: new Secret(data.DATABASE_URL) }
      : { kind: 'embedded', folder: join(data.DATA_DIR ?? '', 'database') };
    const inDatabase = async <T>(work: (em: Execute) => Promise<T>): Promise<T> => {
      const orm = await openOrm(location, entities, createLog('silent'));
      try {
        return await inSession(ownerSession, () =>
          work(lazyScopedEntityManager(() => orm.em.fork(), ownerSession)),
        );
      } finally {
        await orm.close(true);
      }
    };
    const start = async (startServer = startProgram) => {
      const spawned = stack.use(startServer(settings));
      const url = await spawned.ready();
      const client = new GraphQLClient(`${url}/graphql`, { headers: { authorization: `Bearer ${apiKey}` } });
      return { spawned, client };
    };
    const create = (client: GraphQLClient, name: string) =>
      client.request<Created>(createMutation, okta({ name }, { instanceUrl: slow.origin }));
    const expired = "app_connection where deleted_at < now() - interval '30 days'";

    const first = await start();
    await create(first.client, 'first');
    first.spawned.kill('SIGTERM');
    expect(await first.spawned.ended()).toEqual({ code: 0, signal: null });
    await inDatabase((em) => addExpired(em, 4_000));

    const requested = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    slow.behave((request, response) => {
      requested.resolve();
      void release.promise.then(() => handleFakeOkta(request, response));
    });
    const second = await start(spawnServer);
    const created = create(second.client, 'in-flight');
    await requested.promise;
    second.spawned.kill('SIGTERM');
    release.resolve();
    expect((await created).createOktaConnection.appConnection.name).toBe('in-flight');
    expect(await second.spawned.ended()).toEqual({ code: 0, signal: null });

    slow.behave(handleFakeOkta);
    const third = await start();
    await until('all connections are purged', async () => {
      const query = '{ auditEvents(first: 1, filter: { action: PURGE_CONNECTION }) { nodes { seq } } }';
      const { auditEvents } = await third.client.request<{ auditEvents: { nodes: { seq: number }[] } }>(
        query,
      );
      return (auditEvents.nodes[0]?.seq ?? 0) >= 4_002 || undefined;
    });
    third.spawned.kill('SIGTERM');
    expect(await third.spawned.ended()).toEqual({ code: 0, signal: null });
    expect(await inDatabase((em) => countRows(em, expired))).toBe(0);
    expect(await inDatabase((em) => countRows(em, "audit_event where action = 'PURGE_CONNECTION'"))).toBe(
      4_000,
    );
  });
});
