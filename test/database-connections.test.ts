import { describe, expect, test } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { freshDatabase, testDatabaseUrl, withoutPooler } from './testkit/database.ts';
import { errorOfStart } from './testkit/in-process.ts';
import { startPostgresRelay } from './testkit/postgres-relay.ts';
import { startTestServer } from './testkit/server.ts';

describe.runIf(testDatabaseUrl)('a server on PostgreSQL', () => {
  test('opens at most DATABASE_POOL_SIZE connections, one for health checks and one to listen for changes', async () => {
    await using database = await freshDatabase();
    const server = await startTestServer({ location: { ...withoutPooler(database), poolSize: 5 } });
    const organisations = await Promise.all(Array.from({ length: 8 }, () => server.newOrganisation()));
    // Statements that take a while, so that the pool opens all of its connections.
    await Promise.all(
      organisations.flatMap(({ orgId }) =>
        Array.from({ length: 4 }, () =>
          server.database.forOrganisation(orgId).execute('select pg_sleep(0.1)'),
        ),
      ),
    );
    const [{ count = 0 } = {}] = await server
      .asOwner()
      .execute<{ count: number }[]>(
        'select count(*)::int as count from pg_stat_activity where datname = current_database()',
      );
    expect(count).toBeGreaterThan(2);
    expect(count).toBeLessThanOrEqual(7);
    await server.close();
  });

  test('cancels statements after DATABASE_STATEMENT_TIMEOUT_SECONDS', async () => {
    await using database = await freshDatabase();
    const server = await startTestServer({
      location: { ...withoutPooler(database), statementTimeoutMs: 3_000 },
    });
    const { orgId } = await server.newOrganisation();
    const read = () =>
      server.database
        .forOrganisation(orgId)
        .execute<{ timeout: string }[]>(`select current_setting('statement_timeout') as timeout`);
    expect(await read()).toEqual([{ timeout: '3s' }]);
    await server.close();
  });

  test('goes on when connections are lost right after they were opened', async () => {
    await using database = await freshDatabase();
    const { url, ...location } = withoutPooler(database);
    let isDropping = false;
    await using relay = await startPostgresRelay(url.reveal(), {
      onStatement: (text, drop) => {
        if (isDropping && text.includes("set_config('datestyle'")) drop();
      },
    });
    const server = await startTestServer({ location: { ...location, url: new Secret(relay.url) } });
    const { orgId } = await server.newOrganisation();
    const wait = () => server.database.forOrganisation(orgId).execute('select pg_sleep(0.1)');
    isDropping = true;
    const results = await Promise.allSettled(Array.from({ length: 8 }, wait));
    expect(results.map(({ status }) => status)).toContain('rejected');
    isDropping = false;
    // An error event without a listener would have ended the process.
    await Promise.all(Array.from({ length: 8 }, wait));
    await server.close();
  });
});

test.each([
  ['DATABASE_POOL_SIZE', '4', 'must be at least 5'],
  ['DATABASE_POOL_SIZE', 'many', 'must be a number of connections'],
  ['DATABASE_STATEMENT_TIMEOUT_SECONDS', '1', 'must be at least 2'],
  ['DATABASE_STATEMENT_TIMEOUT_SECONDS', '1.5', 'must be a number of seconds'],
])('%s=%s is reported in one line', async (name, value, message) => {
  expect(await errorOfStart({ [name]: value })).toBe(`Cannot start: ${name} ${message}\n`);
});
