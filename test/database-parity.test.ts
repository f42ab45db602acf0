import { randomBytes, randomUUID } from 'node:crypto';
import { GraphQLClient } from 'graphql-request';
import { describe, expect, it, vi } from 'vitest';
import { entities } from '../src/bootstrap/entities.ts';
import { createLog } from '../src/common/log.ts';
import { inSession, lazyScopedEntityManager, ownerSession } from '../src/database/driver/session.ts';
import type { DatabaseLocation } from '../src/database/location.ts';
import { openOrm } from '../src/database/open-orm.ts';
import { ApiKey } from '../src/identity/api-key.entity.ts';
import { administratorScopes } from '../src/identity/caller.ts';
import { Organisation } from '../src/identity/organisation.entity.ts';
import { unattributedOrgId } from '../src/identity/organisations.ts';
import { administer, emptyDatabase, testDatabaseUrl } from './testkit/database.ts';
import { startOkta } from './testkit/okta.ts';
import {
  byIdQuery,
  type ConnectionFields,
  type Created,
  createMutation,
  type Listed,
  listQuery,
  okta,
} from './testkit/operations.ts';
import { spawnServer, until } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer } from './testkit/server.ts';

// Some of these start processes, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

async function health(url: string) {
  const status = async (path: string) => (await fetch(`${url}/health/${path}`)).status;
  return { live: await status('live'), ready: await status('ready') };
}

describe('the database', () => {
  it('has the schema of the entities after the migrations', async () => {
    await using database = await emptyDatabase();
    const { location } = database;
    const orm = await openOrm(location, entities, createLog('silent'));
    try {
      const difference = () => inSession(ownerSession, () => orm.schema.getUpdateSchemaSQL({ safe: false }));
      expect(await difference()).toContain('create table "app_connection"');
      await inSession(ownerSession, () => orm.migrator.up());
      expect(await difference()).toBe('');
    } finally {
      await orm.close(true);
    }
  });

  it('grants former administrators all later scopes in the migrations', async () => {
    await using database = await emptyDatabase();
    const orm = await openOrm(database.location, entities, createLog('silent'));
    try {
      const em = lazyScopedEntityManager(() => orm.em.fork(), ownerSession);
      const addKey = (orgId: string, name: string, scopes: string, createdAt: string) =>
        em.execute(
          `insert into api_key (id, org_id, name, hash, scopes, created_at)
            values (gen_random_uuid(), '${orgId}', '${name}', '${orgId} ${name}', '{${scopes}}', '${createdAt}')`,
        );
      const addOrganisation = async () => {
        const orgId = randomUUID();
        await em.execute(`insert into organisation (id, name, created_at) values ('${orgId}', 'Old', now())`);
        return orgId;
      };
      const [two, four, five] = [
        'connections:read,connections:write',
        'connections:verify,audit:read',
        'access:admin',
      ];
      await inSession(ownerSession, () => orm.migrator.up({ to: '0001-start' }));
      const [oldest, older] = [await addOrganisation(), await addOrganisation()];
      await addKey(oldest, 'second', two, '2026-01-02');
      await addKey(oldest, 'first', two, '2026-01-01');
      await addKey(older, 'first', `${two},${four}`, '2026-01-01');
      await inSession(ownerSession, () => orm.migrator.up({ to: '0005-access' }));
      const young = await addOrganisation();
      await addKey(young, 'first', two, '2026-01-01');
      await addKey(young, 'second', `${two},${four},${five}`, '2026-01-02');
      await inSession(ownerSession, () => orm.migrator.up());

      const keys = await em.find(ApiKey, {}, { orderBy: { name: 'asc' } });
      const getScopes = (orgId: string) => keys.filter((key) => key.orgId === orgId).map((key) => key.scopes);
      expect(getScopes(oldest)).toEqual([administratorScopes, two.split(',')]);
      expect(getScopes(older)).toEqual([administratorScopes]);
      expect(getScopes(young)).toEqual([two.split(','), administratorScopes]);
    } finally {
      await orm.close(true);
    }
  });

  it.runIf(!testDatabaseUrl)(
    'takes the server out of service without ending it when the embedded database is lost',
    async () => {
      const server = await startTestServer({ location: { kind: 'embedded' } });
      expect(await health(server.url)).toEqual({ live: 200, ready: 200 });
      await server.database.close();
      await until(
        'the server is not ready',
        async () => (await health(server.url)).ready === 503 || undefined,
      );
      expect(await health(server.url)).toEqual({ live: 200, ready: 503 });
      await server.close();
    },
  );
});

describe.runIf(testDatabaseUrl)('several servers on PostgreSQL', () => {
  /** The settings that all servers of one service share. */
  const productionSettings = (location: DatabaseLocation) => ({
    NODE_ENV: 'production',
    DATABASE_URL: getUrl(location),
    ENCRYPTION_KEYS: rootKey('k1'),
    BOOTSTRAP_API_KEY: randomBytes(24).toString('hex'),
  });

  it('start concurrently on an empty database and share it', async () => {
    await using database = await emptyDatabase();
    const { location } = database;
    await using slow = await startOkta();
    const settings = { ...productionSettings(location), TRUSTED_INSTANCE_HOSTS: slow.hostPort };
    await using one = spawnServer(settings);
    await using two = spawnServer(settings);
    await using three = spawnServer(settings);
    const urls = await Promise.all([one.ready(), two.ready(), three.ready()]);
    for (const url of urls) expect(await health(url)).toEqual({ live: 200, ready: 200 });
    expect(await countOrganisations(location)).toBe(1);

    const headers = { authorization: `Bearer ${settings.BOOTSTRAP_API_KEY}` };
    const [first, ...others] = urls.map((url) => new GraphQLClient(`${url}/graphql`, { headers }));
    const created = await first?.request<Created>(createMutation, okta({}, { instanceUrl: slow.origin }));
    expect(others).toHaveLength(2);
    for (const other of others) {
      const list = await other.request<Listed>(listQuery);
      expect(list.appConnections.nodes.map(({ name }) => name)).toEqual(['my-okta-connection']);
      const [{ id } = { id: '' }] = list.appConnections.nodes;
      const read = await other.request<{ appConnection: ConnectionFields }>(byIdQuery, { id });
      expect(read.appConnection).toEqual(created?.createOktaConnection.appConnection);
    }
  });

  // Each lock delays the servers until all three are about to run the statement.
  it.each([
    ['run the migrations', false, 'create table mikro_orm_migrations (id int)'],
    ['create the first organisation', true, 'lock table organisation in access exclusive mode'],
  ])('%s once when three start concurrently', async (_, isMigrated, obstacle) => {
    await using database = await emptyDatabase();
    const { location } = database;
    const settings = productionSettings(location);
    await using stack = new AsyncDisposableStack();
    const orm = await openOrm(location, entities, createLog('silent'));
    stack.defer(() => orm.close(true));
    if (isMigrated) await inSession(ownerSession, () => orm.migrator.up());

    const em = lazyScopedEntityManager(() => orm.em.fork(), ownerSession);
    await em.begin();
    await em.execute(obstacle);
    const servers = [1, 2, 3].map(() => stack.use(spawnServer(settings)));
    await until('all three requests wait', async () => {
      const { waiting } = await em.execute<{ waiting: number }>(
        `select count(*)::int as waiting from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock'`,
        [],
        'get',
      );
      // pg_stat_activity keeps its first snapshot within a transaction.
      await em.execute('select pg_stat_clear_snapshot()');
      return waiting === servers.length || undefined;
    });
    await em.rollback();

    const urls = await Promise.all(servers.map((server) => server.ready()));
    for (const url of urls) expect(await health(url)).toEqual({ live: 200, ready: 200 });
    expect(await countOrganisations(location)).toBe(1);
  });

  it('become ready again after an outage of the database', async () => {
    await using database = await emptyDatabase();
    const { location } = database;
    const server = await startTestServer({ location });
    const name = new URL(getUrl(location)).pathname.slice(1);
    const { client } = await server.newOrganisation();
    await client.request(createMutation, okta());

    await administer(`alter database ${name} with allow_connections false`);
    await administer(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`);
    await until('the server is not ready', async () => (await health(server.url)).ready === 503 || undefined);
    expect(await health(server.url)).toEqual({ live: 200, ready: 503 });

    await administer(`alter database ${name} with allow_connections true`);
    await until(
      'the server is ready again',
      async () => (await health(server.url)).ready === 200 || undefined,
    );
    expect((await client.request<Listed>(listQuery)).appConnections.totalCount).toBe(1);
    await server.close();
  });
});

function getUrl(location: DatabaseLocation): string {
  return location.kind === 'postgresql' ? location.url.reveal() : '';
}

async function countOrganisations(location: DatabaseLocation): Promise<number> {
  const orm = await openOrm(location, entities, createLog('silent'));
  try {
    return await lazyScopedEntityManager(() => orm.em.fork(), ownerSession).count(Organisation, {
      id: { $ne: unattributedOrgId },
    });
  } finally {
    await orm.close(true);
  }
}
