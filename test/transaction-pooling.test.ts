import { randomUUID } from 'node:crypto';
import { gql } from 'graphql-request';
import { describe, expect, test, vi } from 'vitest';
import { entities } from '../src/bootstrap/entities.ts';
import { createLog } from '../src/common/log.ts';
import type { Secret } from '../src/common/secret.ts';
import { parseConnectionString } from '../src/database/connection-string.ts';
import { openDatabase } from '../src/database/database.ts';
import { loadPg, type PlainClient } from '../src/database/driver/pg.ts';
import { lazyScopedEntityManager, roles, type Session } from '../src/database/driver/session.ts';
import { toDriverOptions } from '../src/database/driver-options.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import {
  byIdQuery,
  type Created,
  createMutation,
  type Listed,
  listQuery,
  okta,
} from './testkit/operations.ts';
import { hasPgBouncer, startPooledDatabase } from './testkit/pgbouncer.ts';
import { spawnServer, temporaryFolder } from './testkit/process.ts';
import { collectCodes, sendGraphQL, startRateLimitedServer } from './testkit/rates.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

vi.setConfig({ testTimeout: 60_000 });

const watching = gql`
  subscription { appConnectionChanged { connectionId } }
`;

/** Starts a server on a database behind PgBouncer with one connection to PostgreSQL. */
async function startOnOneConnection(stack: AsyncDisposableStack) {
  const { location } = stack.use(await startPooledDatabase({ poolSize: 1 }));
  const server = await startTestServer({ location });
  stack.defer(() => server.close());
  return { server, location };
}

/** Opens a connection outside of the server's pool. */
async function connectTo(stack: AsyncDisposableStack, url: Secret): Promise<PlainClient> {
  const { Client } = loadPg();
  const connection = parseConnectionString(url.reveal());
  const client = new Client({
    ...toDriverOptions(connection, connection.hosts[0]),
    connectionTimeoutMillis: 10_000,
    query_timeout: 10_000,
  });
  await client.connect();
  stack.defer(() => client.end());
  return client;
}

describe.runIf(testDatabaseUrl && hasPgBouncer())('behind PgBouncer in transaction mode', () => {
  test('organisations that share one connection to PostgreSQL each see only their own connections', async () => {
    await using stack = new AsyncDisposableStack();
    const { server } = await startOnOneConnection(stack);
    const organisations = await Promise.all(Array.from({ length: 5 }, () => server.newOrganisation()));
    const created = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const { client, orgId } = organisations[index % 5] ?? (await server.newOrganisation());
        const { createOktaConnection } = await client.request<Created>(
          createMutation,
          okta({ name: `connection-${index}` }),
        );
        expect(createOktaConnection.appConnection.orgId).toBe(orgId);
        return createOktaConnection.appConnection;
      }),
    );
    const lists = await Promise.all(organisations.map(({ client }) => client.request<Listed>(listQuery)));
    for (const [index, { appConnections }] of lists.entries()) {
      const own = created.filter(({ orgId }) => orgId === organisations[index]?.orgId);
      expect(appConnections.nodes.map(({ id }) => id).sort()).toEqual(own.map(({ id }) => id).sort());
    }
    const reads = organisations.flatMap(({ client, orgId }) =>
      created.map(async ({ id, orgId: owner }) => {
        const { appConnection } = await client
          .request<{ appConnection: { id: string } | null }>(byIdQuery, { id })
          .catch(() => ({ appConnection: null }));
        expect(appConnection?.id).toBe(owner === orgId ? id : undefined);
      }),
    );
    await Promise.all(reads);
    const backends = await Promise.all(
      organisations.map(({ orgId }) =>
        server.database.forOrganisation(orgId).execute('select pg_backend_pid() as pid'),
      ),
    );
    expect(new Set(backends.flat().map((row) => Object(row).pid)).size).toBe(1);
  });

  test('nothing of an organisation stays in the connection to PostgreSQL', async () => {
    await using stack = new AsyncDisposableStack();
    const { server, location } = await startOnOneConnection(stack);
    const { orgId } = await server.newOrganisation();
    const organisation = () => server.database.forOrganisation(orgId);
    expect(await organisation().execute('select org_id as id from project')).toEqual([{ id: orgId }]);
    const failing = organisation().transactional((em) => em.execute('select 1/0'));
    await expect(failing).rejects.toThrow('division by zero');

    const other = await connectTo(stack, location.url);
    const { rows } = await other.query(
      "select current_user = session_user as is_owner, current_setting('app_connections.org_id', true) as org_id",
    );
    expect(rows).toEqual([{ is_owner: true, org_id: '' }]);
    // A statement without settings sees no rows.
    await other.query('begin');
    await other.query(`set local role ${roles.tenant}`);
    expect((await other.query('select id from project')).rows).toEqual([]);
    await other.query('rollback');
  });

  test('concurrent statements get their own results, also beside failing ones', async () => {
    await using stack = new AsyncDisposableStack();
    const { server } = await startOnOneConnection(stack);
    const organisations = [await server.newOrganisation(), await server.newOrganisation()];
    const statements = Array.from({ length: 120 }, async (_, index) => {
      const { orgId } = organisations[index % 2] ?? { orgId: '' };
      const em = server.database.forOrganisation(orgId);
      if (index % 5 === 0) {
        await expect(em.execute('select 1 / ?::int', [0])).rejects.toThrow('division by zero');
        return;
      }
      if (index % 7 === 0) {
        await expect(em.execute('select nothing from project')).rejects.toThrow('does not exist');
        return;
      }
      const read = `select ?::int as number, null as nothing, org_id from project`;
      const expected = [{ number: index, nothing: null, org_id: orgId }];
      if (index % 3 > 0) expect(await em.execute(read, [index])).toEqual(expected);
      else expect(await em.transactional((tx) => tx.execute(read, [index]))).toEqual(expected);
    });
    await Promise.all(statements);
  });

  test('a statement is not executed when its settings fail, and the next one is', async () => {
    await using stack = new AsyncDisposableStack();
    const { server } = await startOnOneConnection(stack);
    const { orgId } = await server.newOrganisation();
    const em = server.database.forOrganisation(orgId);
    const unknown = { role: 'no_such_role', orgId } as unknown as Session;
    const refused = lazyScopedEntityManager(() => server.database.asSystem().fork(), unknown);
    const rename = `update project set name = 'Renamed'`;
    // More often than the pool has connections.
    for (let index = 0; index < 12; index += 1) {
      await expect(refused.execute(rename)).rejects.toThrow('no_such_role');
      await expect(refused.transactional((tx) => tx.execute(rename))).rejects.toThrow('no_such_role');
      expect(await em.execute('select name from project')).toEqual([{ name: 'Test project' }]);
    }
  });

  test('a repeated create with an idempotency key is executed once', async () => {
    await using stack = new AsyncDisposableStack();
    const { server } = await startOnOneConnection(stack);
    const { client } = await server.newOrganisation();
    const input = okta({ idempotencyKey: randomUUID() });
    const created = await Promise.all(
      Array.from({ length: 10 }, () => client.request<Created>(createMutation, input)),
    );
    const ids = created.map(({ createOktaConnection }) => createOktaConnection.appConnection.id);
    expect(new Set(ids).size).toBe(1);
    expect((await client.request<Listed>(listQuery)).appConnections.totalCount).toBe(1);
  });

  test('two servers share the rate limit of a caller', async () => {
    await using stack = new AsyncDisposableStack();
    const { location } = stack.use(await startPooledDatabase({ poolSize: 2 }));
    const limits = { caller: { points: 40, leaseSize: 10 } };
    const one = await startRateLimitedServer(limits, { location });
    stack.defer(() => one.close());
    const other = await startRateLimitedServer(limits, { beside: one });
    stack.defer(() => other.close());
    const caller = { apiKey: (await one.newOrganisation()).apiKey, address: '198.51.100.1' };
    const codes = await collectCodes(60, (index) => sendGraphQL(index % 2 ? other : one, caller));
    const passed = codes.filter((code) => code !== 'RATE_LIMITED').length;
    expect(passed).toBeLessThanOrEqual(40);
    expect(passed).toBeGreaterThanOrEqual(30);
    expect(one.logs() + other.logs()).not.toContain('could not query rate limits');
  });

  test.each([
    ['by notification with DATABASE_DIRECT_URL', true],
    ['by polling without DATABASE_DIRECT_URL', false],
  ])('a subscription delivers changes of another server %s', async (_, isDirect) => {
    await using stack = new AsyncDisposableStack();
    const { location: both } = stack.use(await startPooledDatabase({ poolSize: 2 }));
    const location = isDirect ? both : { kind: both.kind, url: both.url };
    const server = await startTestServer({ location });
    stack.defer(() => server.close());
    const other = await startTestServer({ beside: server });
    stack.defer(() => other.close());
    const organisation = await server.newOrganisation();
    await using changes = await subscribe(server.graphqlUrl, organisation.apiKey, watching);
    const { createOktaConnection } = await other
      .clientFor(organisation.apiKey)
      .request<Created>(createMutation, okta());
    const { data } = await changes.next();
    expect(data).toEqual({ appConnectionChanged: { connectionId: createOktaConnection.appConnection.id } });
    const listeners = await server
      .asOwner()
      .execute(
        `select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and query ~ '^listen |pg_notify'`,
      );
    expect(listeners.length).toBe(isDirect ? 2 : 0);
  });

  test.each([
    ['with DATABASE_DIRECT_URL', true],
    ['without DATABASE_DIRECT_URL', false],
  ])('a server starts on an empty database %s', async (_, isDirect) => {
    await using stack = new AsyncDisposableStack();
    const { location } = stack.use(await startPooledDatabase({ poolSize: 1, isMigrated: false }));
    const data = stack.use(temporaryFolder());
    const server = stack.use(
      spawnServer({
        DATA_DIR: data.path,
        NODE_ENV: 'production',
        DATABASE_URL: location.url.reveal(),
        ...(isDirect && { DATABASE_DIRECT_URL: location.directUrl.reveal() }),
        ENCRYPTION_KEYS: rootKey('k1'),
        BOOTSTRAP_API_KEY: randomUUID() + randomUUID(),
      }),
    );
    const url = await server.ready();
    expect((await fetch(`${url}/health/ready`)).status).toBe(200);
  });

  test('a server does not start when DATABASE_DIRECT_URL leads to another database', async () => {
    await using stack = new AsyncDisposableStack();
    const { location } = stack.use(await startPooledDatabase({ poolSize: 2 }));
    const other = stack.use(await startPooledDatabase({ poolSize: 2 }));
    const opening = openDatabase(
      { ...location, directUrl: other.location.directUrl },
      entities,
      createLog('silent'),
    );
    await expect(opening).rejects.toThrow(
      'DATABASE_DIRECT_URL must lead to the same database as DATABASE_URL',
    );
  });
});
