import { GraphQLClient } from 'graphql-request';
import { describe, expect, test, vi } from 'vitest';
import { createKey } from './testkit/access.ts';
import { freshDatabase, testDatabaseUrl, withoutPooler } from './testkit/database.ts';
import { createConnection } from './testkit/operations.ts';
import { startPostgresRelay } from './testkit/postgres-relay.ts';
import { spawnServer, temporaryFolder } from './testkit/process.ts';
import { startTestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 60_000 });

describe.runIf(testDatabaseUrl)('a server that is frozen in a transaction', () => {
  test('fails no create of its organisation on another server', async () => {
    await using stack = new AsyncDisposableStack();
    const database = stack.use(await freshDatabase());
    const { location } = database;
    const server = await startTestServer({ location });
    stack.defer(() => server.close());
    const organisation = await server.newOrganisation();

    const frozen = Promise.withResolvers<void>();
    const relay = stack.use(
      await startPostgresRelay(withoutPooler(database).url.reveal(), {
        onStatement: (text) => {
          // PostgreSQL locks the audit trail for a server that never receives the answer.
          if (!text.includes('insert into audit_head')) return;
          other.kill('SIGSTOP');
          frozen.resolve();
        },
      }),
    );
    const data = stack.use(temporaryFolder());
    const other = stack.use(
      spawnServer({ DATABASE_URL: relay.url, DATA_DIR: data.path, ENCRYPTION_KEYS: server.rootKey }),
    );
    const url = `${await other.ready()}/graphql`;
    const headers = { authorization: `Bearer ${organisation.apiKey}` };
    void createKey(new GraphQLClient(url, { headers })).catch(() => undefined);
    await frozen.promise;

    const creates = Array.from({ length: 10 }, (_, index) =>
      createConnection(organisation, { name: `connection-${index}` }),
    );
    expect(await Promise.all(creates)).toHaveLength(10);
  });
});
