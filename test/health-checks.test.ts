import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { entities } from '../src/bootstrap/entities.ts';
import { createLog } from '../src/common/log.ts';
import { lazyScopedEntityManager, ownerSession } from '../src/database/driver/session.ts';
import { openOrm } from '../src/database/open-orm.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { listQuery } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { countRowsRead } from './testkit/query-plan.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 30_000 });

let server: TestServer;
/** The statements of the readiness checks so far. */
const readinessStatements: string[] = [];
const rootKeys = ['a', 'b', 'c'].map((id) => rootKey(id));
beforeAll(async () => {
  server = await startTestServer({
    rootKeys: rootKeys.join(','),
    wrap: (database) => ({
      ...database,
      probe: (sql) => {
        readinessStatements.push(sql);
        return database.probe(sql);
      },
    }),
  });
});
afterAll(() => server.close());

const readinessStatus = async (init: RequestInit = {}, suffix = '') =>
  (await fetch(`${server.url}/health/ready${suffix}`, init)).status;

/** The maximum number of checks since then: one in flight, and one for each second. */
function maxChecksSince(start: number): number {
  return Math.ceil((performance.now() - start) / 1_000) + 1;
}

describe('an unauthenticated client causes at most one readiness check per second', () => {
  it.each<[string, RequestInit, string]>([
    ['with GET', {}, ''],
    ['with HEAD', { method: 'HEAD' }, ''],
    ['with a different query string each time', {}, '?'],
    ['with an invalid API key', { headers: { authorization: 'Bearer unknown-key' } }, ''],
  ])('%s', async (_, init, suffix) => {
    const [start, before] = [performance.now(), readinessStatements.length];
    const statuses = await Promise.all(
      Array.from({ length: 100 }, (_, index) => readinessStatus(init, suffix && `${suffix}${index}`)),
    );
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(readinessStatements.length - before).toBeLessThanOrEqual(maxChecksSince(start));
  });

  it('with another method, which causes no check', async () => {
    const before = readinessStatements.length;
    for (const method of ['POST', 'DELETE', 'PUT', 'OPTIONS'])
      expect(await readinessStatus({ method })).not.toBe(200);
    expect(readinessStatements.length).toBe(before);
  });
});

describe('the readiness check', () => {
  it('reads at most two rows per root key for any number of organisations', async () => {
    await readinessStatus();
    const [sql = ''] = readinessStatements;
    const em = server.asOwner();
    const add = (rootKeyId: string, count: number) =>
      em.execute(
        `insert into data_key (id, org_id, purpose, wrapped, root_key_id, made_under, created_at, mac)
         select gen_random_uuid(), gen_random_uuid(), 'SEAL', '', '${rootKeyId}', '${rootKeyId}', now(), 'none'
         from generate_series(1, ${count})`,
      );
    try {
      for (const count of [20, 2_000]) {
        for (const id of ['a', 'b', 'c']) await add(id, count);
        await em.execute('analyze data_key');
        expect(await countRowsRead(em, sql)).toBeLessThanOrEqual(6);
      }
    } finally {
      await em.execute('delete from data_key where org_id not in (select id from organisation)');
    }
  });

  it.each(['0', 'bb', 'z'])(
    'fails without the root key "%s" until nothing needs it, in any sort order',
    async (id) => {
      const em = server.asOwner();
      await server.restartedVault(rootKey(id)).addDataKeys(em, randomUUID());
      await em.flush();
      await until('the server is not ready', async () => (await readinessStatus()) === 503 || undefined);
      expect(server.logs()).toContain('"msg":"not ready"');
      await server.asOwner().execute(`delete from data_key where root_key_id = '${id}'`);
      await until('the server is ready again', async () => (await readinessStatus()) === 200 || undefined);
    },
  );

  it('succeeds with a damaged data key, and logs its organisation once', async () => {
    const orgId = randomUUID();
    const dataKeyId = '00000000-0000-0000-0000-000000000001';
    const em = server.asOwner();
    await em.execute(
      `insert into data_key (id, org_id, purpose, wrapped, root_key_id, made_under, created_at, mac)
         select '${dataKeyId}', '${orgId}', 'SEAL', wrapped, root_key_id, made_under, created_at, mac
           from data_key where root_key_id = 'a' limit 1`,
    );
    try {
      const isLogged = () => server.logs().includes('"msg":"a data key is damaged"') || undefined;
      await until('the damage is logged', async () => {
        expect(await readinessStatus()).toBe(200);
        return isLogged();
      });
      const before = readinessStatements.length;
      await until('it is checked again', async () => {
        expect(await readinessStatus()).toBe(200);
        return readinessStatements.length >= before + 2 || undefined;
      });
    } finally {
      await em.execute(`delete from data_key where id = '${dataKeyId}'`);
    }
    const lines = server
      .logs()
      .split('\n')
      .filter((line) => line.includes('a data key is damaged'));
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({
        orgId,
        dataKeyId,
        purpose: 'SEAL',
        remedy: expect.stringMatching(/^Restore/),
      }),
    ]);
  });
});

/** Locks a table from a connection outside the server's pool, until released. */
async function lockTable(table: string): Promise<AsyncDisposable & { release(): Promise<void> }> {
  const orm = await openOrm(server.location, entities, createLog('silent'));
  const em = lazyScopedEntityManager(() => orm.em.fork(), ownerSession);
  await em.begin();
  await em.execute(`lock table ${table} in access exclusive mode`);
  const release = async () => {
    if (em.isInTransaction()) await em.rollback();
    await orm.close(true);
  };
  return { release, [Symbol.asyncDispose]: release };
}

describe.runIf(testDatabaseUrl)('the readiness check while a table is locked', () => {
  it.each(['api_key', 'app_connection', 'organisation', 'data_key', 'audit_event', 'mikro_orm_migrations'])(
    'does not wait for the lock: %s',
    async (table) => {
      const { client } = await server.newOrganisation();
      await using lock = await lockTable(table);
      // Enough to occupy every connection of the pool if they wait for the table.
      let answered = 0;
      const requests = Array.from({ length: 30 }, () =>
        client.request(listQuery).then(
          () => answered++,
          () => answered++,
        ),
      );
      const before = readinessStatements.length;
      // Not at the first attempt: on a busy machine, a check may take longer than its time limit without a lock too.
      await until('a readiness check has succeeded', async () => {
        const isReady = (await readinessStatus()) === 200;
        return (isReady && readinessStatements.length > before) || undefined;
      });
      if (['api_key', 'app_connection'].includes(table)) expect(answered).toBe(0);
      await lock.release();
      await Promise.all(requests);
    },
  );

  it('still fails when a root key was missing before', async () => {
    const em = server.asOwner();
    await server.restartedVault(rootKey('lost')).addDataKeys(em, randomUUID());
    await em.flush();
    await until('the server is not ready', async () => (await readinessStatus()) === 503 || undefined);
    await using lock = await lockTable('data_key');
    const before = readinessStatements.length;
    await until('a readiness check has run', async () => {
      expect(await readinessStatus()).toBe(503);
      return readinessStatements.length > before || undefined;
    });
    await lock.release();
    await server.asOwner().execute("delete from data_key where root_key_id = 'lost'");
    await until('the server is ready again', async () => (await readinessStatus()) === 200 || undefined);
  });
});
