import { randomUUID } from 'node:crypto';
import { getConstructionPlans } from 'pg-boss';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createLog } from '../src/common/log.ts';
import { jobSchema } from '../src/database/job-schema.ts';
import { pgBoss46 } from '../src/database/migrations/pg-boss-46.ts';
import { JobQueue } from '../src/jobs/job-queue.ts';
import type { Queue } from '../src/jobs/queue.ts';
import { administer, testDatabaseUrl } from './testkit/database.ts';
import { hasPgBouncer, startPooledDatabase } from './testkit/pgbouncer.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let server: TestServer;
let mine: TestOrganisation;
beforeAll(async () => {
  server = await startTestServer();
  mine = await server.newOrganisation();
});
afterAll(() => server.close());

const schema = jobSchema('public');

/** A queue whose jobs are recorded, and end when the test says so. */
function recordedQueue(more: Partial<Queue> = {}) {
  const name = `test-${randomUUID()}`;
  const begun: string[] = [];
  let running = 0;
  let most = 0;
  let waiting = Promise.withResolvers<void>();
  const limits = { workers: 2, batchSize: 2, groupConcurrency: 10, pollSeconds: 0.5 };
  const queue: Queue = {
    ...{ name, expireSeconds: 60, retryLimit: 0, ...limits },
    work: async ({ id = '' }) => {
      begun.push(id);
      running += 1;
      most = Math.max(most, running);
      waiting.resolve();
      waiting = Promise.withResolvers();
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
    },
    ...more,
  };
  const until = async (isReached: () => boolean) => {
    while (!isReached()) await waiting.promise;
  };
  return { name, queue, begun, until, most: () => most };
}

const startQueue = (queue: Queue, { database } = server) =>
  new JobQueue({ database, log: createLog('silent') }, [queue]);
const about = (id: string, group = mine.orgId) => ({ ids: { id }, key: id, group });
const stored = (name: string) =>
  server
    .asOwner()
    .execute<{ state: string; output: unknown; data: object; groupId: string }[]>(
      `select state::text, output, data, group_id as "groupId" from ${schema}.job where name = ?`,
      [name],
    );

vi.setConfig({ testTimeout: 20_000 });

describe('the job queue', () => {
  test('has the tables that the installed version of pg-boss creates', () => {
    const plain = (sql: string) => sql.replaceAll(/[\s;]+/g, '');
    const statements = plain(getConstructionPlans('pg_boss_schema', { createSchema: false }));
    expect(statements.includes(plain(pgBoss46))).toBe(true);
    expect(statements.length - plain(pgBoss46).length).toBeLessThan(300);
  });

  test('runs each job once on two servers, and stores only ids', async () => {
    const { name, queue, begun, until } = recordedQueue();
    const queues = [startQueue(queue), startQueue(queue)];
    const ids = Array.from({ length: 20 }, (_, index) => `job ${index}`);
    for (const each of queues)
      await each.add(
        name,
        ids.map((id) => about(id)),
      );
    await until(() => begun.length >= 20);
    await Promise.all(queues.map((each) => each.stop()));
    expect(new Set(begun)).toEqual(new Set(ids));
    const rows = await stored(name);
    // A job that has ended is added again, and may wait when the servers stop.
    expect(begun.length).toBeLessThanOrEqual(rows.length);
    for (const { data, groupId } of rows) {
      expect(Object.keys(data)).toEqual(['id']);
      expect(groupId).toBe(mine.orgId);
    }
  });

  test('adds a job in the transaction of a request, and not if that is rolled back', async () => {
    const { name, queue, begun, until } = recordedQueue();
    const jobs = startQueue(queue);
    await jobs.ready;
    const addIn = (id: string, fails: boolean) =>
      server.database.forOrganisation(mine.orgId).transactional(async (em) => {
        await jobs.add(name, [about(id)], em);
        // The transaction is that of the organisation again.
        const [{ role }] = await em.execute<[{ role: string }]>('select current_user as role');
        expect(role).toBe('app_connections_tenant');
        if (fails) throw new Error('rolled back');
      });
    await expect(addIn('lost', true)).rejects.toThrow('rolled back');
    await addIn('kept', false);
    await until(() => begun.length > 0);
    await jobs.stop();
    expect(begun).toEqual(['kept']);
  });

  test('runs few jobs of a group at the same time', async () => {
    const { name, queue, begun, until, most } = recordedQueue({ groupConcurrency: 1 });
    const jobs = startQueue(queue);
    await jobs.add(
      name,
      ['one', 'two', 'three'].map((id) => about(id)),
    );
    await until(() => begun.length === 3);
    await jobs.stop();
    expect(most()).toBe(1);
  });

  test('runs all jobs of a group without waiting for the next poll', async () => {
    const limits = { workers: 1, batchSize: 4, groupConcurrency: 2, pollSeconds: 3_600 };
    const { name, queue, begun, until, most } = recordedQueue(limits);
    const jobs = startQueue(queue);
    const ids = Array.from({ length: 12 }, (_, index) => `job ${index}`);
    await jobs.add(
      name,
      ids.map((id) => about(id)),
    );
    await until(() => begun.length === ids.length);
    await jobs.stop();
    expect(most()).toBeLessThanOrEqual(2);
  });

  test('stores no error of a job', async () => {
    const failed = Promise.withResolvers<void>();
    const { name, queue } = recordedQueue({
      work: async () => {
        failed.resolve();
        throw new Error('SSWS secret');
      },
    });
    const jobs = startQueue(queue);
    await jobs.add(name, [about('one')]);
    await failed.promise;
    await jobs.stop();
    const [row] = await stored(name);
    expect(row?.state).toBe('failed');
    expect(JSON.stringify(row)).not.toContain('secret');
  });

  test('is closed to the statements of organisations', async () => {
    const em = () => server.database.forOrganisation(mine.orgId);
    const tables = await server
      .asOwner()
      .execute<{ name: string }[]>(
        'select relname as name from pg_class where relnamespace = ?::regnamespace and relkind in (?)',
        [schema, ['r', 'p']],
      );
    expect(tables.length).toBeGreaterThan(10);
    for (const { name } of tables) {
      await expect(em().execute(`select 1 from ${schema}.${name}`)).rejects.toThrow(/permission denied/);
      await expect(em().execute(`delete from ${schema}.${name}`)).rejects.toThrow(/permission denied/);
    }
    await expect(em().execute(`select ${schema}.delete_queue('x')`)).rejects.toThrow(/permission denied/);
  });
});

describe.runIf(testDatabaseUrl && hasPgBouncer())('the job queue behind PgBouncer', () => {
  test('runs jobs, also after all connections to PostgreSQL were lost', async () => {
    await using stack = new AsyncDisposableStack();
    const { location } = stack.use(await startPooledDatabase({ poolSize: 5 }));
    const pooled = await startTestServer({ location });
    stack.defer(() => pooled.close());
    const { name, queue, begun, until } = recordedQueue();
    const jobs = startQueue(queue, pooled);
    stack.defer(() => jobs.stop());
    await jobs.add(name, [about('before')]);
    await until(() => begun.length > 0);
    const databaseName = new URL(location.directUrl.reveal()).pathname.slice(1);
    await administer(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${databaseName}'`,
    );
    const addAgain = () => jobs.add(name, [about('after')]);
    // Until the server has replaced the lost connections, statements fail.
    while (
      await addAgain().then(
        () => false,
        () => true,
      )
    );
    await until(() => begun.length > 1);
    expect(begun).toEqual(['before', 'after']);
  });
});
