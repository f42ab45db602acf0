import type { EntityManager } from '@mikro-orm/postgresql';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lazyScopedEntityManager, type Session } from '../src/database/driver/session.ts';
import { createKey } from './testkit/access.ts';
import { poolerUrl, testDatabaseUrl } from './testkit/database.ts';
import { createConnection } from './testkit/operations.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

/** The maximum number of prepared statements of a connection. */
const most = 200;

// The database is queried directly: prepared statements are visible nowhere else.
describe.runIf(testDatabaseUrl && !poolerUrl)('prepared statements of a PostgreSQL connection', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server.close());

  const execute = async (em: EntityManager, text: string, times = 1) => {
    for (let time = 0; time < times; time += 1) await em.execute(`select '${text}' as text where ? = 1`, [1]);
  };
  const keptBy = async (em: EntityManager) => {
    const found: { statement: string }[] = await em.execute('select statement from pg_prepared_statements');
    return found.map(({ statement }) => statement);
  };
  const has = (statements: readonly string[], text: string) =>
    statements.some((statement) => statement.includes(`'${text}'`));

  test('are the frequent ones, at most 200 of any number of statements', async () => {
    await server.database.asSystem().transactional(async (em) => {
      await execute(em, 'often', 6);
      for (let index = 0; index < 300; index += 1) {
        await execute(em, `seldom-${index}`, 6);
        await execute(em, 'often');
      }
      const kept = await keptBy(em);
      expect(kept.length).toBeLessThanOrEqual(most + 2);
      expect(kept.length).toBeGreaterThan(most - 20);
      expect(has(kept, 'often')).toBe(true);
      expect(has(kept, 'seldom-299')).toBe(true);
      expect(has(kept, 'seldom-0')).toBe(false);
      await execute(em, 'seldom-0', 6);
      expect(has(await keptBy(em), 'seldom-0')).toBe(true);
    });
  });

  test('are also evicted in a failed transaction and at the start of a transaction', async () => {
    for (let index = 0; index < 230; index += 1) {
      const failing = server.database.asSystem().transactional(async (em) => {
        await execute(em, `failing-${index}`, 6);
        await em.execute('select 1 / ?::int', [0]);
      });
      await expect(failing).rejects.toThrow('division by zero');
      await server.database.asSystem().transactional((em) => execute(em, `failing-${index}`));
    }
    const em = server.database.asSystem();
    expect((await keptBy(em)).length).toBeLessThanOrEqual(most + 2);
  });

  test('work after statements whose settings failed on new connections', async () => {
    const unknown = { role: 'no_such_role', orgId: '' } as unknown as Session;
    const refused = () => lazyScopedEntityManager(() => server.database.asSystem().fork(), unknown);
    const forEach = (run: () => Promise<unknown>) => Promise.all(Array.from({ length: 8 }, run));
    await execute(server.database.asSystem(), 'after failures', 6);
    await forEach(() => expect(execute(refused(), 'after failures')).rejects.toThrow('no_such_role'));
    await forEach(() => execute(server.database.asSystem(), 'after failures'));
  });

  test('are prepared again after a newer server has added a column to their table', async () => {
    const organisation = await server.newOrganisation();
    const { id } = await createConnection(organisation);
    const updateDescription = gql`
      mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
        updateOktaConnection(id: $id, input: $input) { appConnection { version } }
      }
    `;
    const update = (text: string) =>
      organisation.client.request(updateDescription, { id, input: { description: text } });
    const changeOften = async (text: string) => {
      for (let index = 0; index < 8; index += 1) {
        await update(`${text} ${index}`);
        await createKey(organisation.client);
      }
    };
    await changeOften('before');
    const tables: { name: string }[] = await server.asOwner().execute(
      `select relname as name from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where relkind = 'r' and nspname = 'public'`,
    );
    for (const { name } of tables)
      await server.asOwner().execute(`alter table "${name}" add column added text`);
    await changeOften('after');
  });
});
