import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { entities } from '../src/bootstrap/entities.ts';
import { createLog } from '../src/common/log.ts';
import { Secret } from '../src/common/secret.ts';
import { AppConnection } from '../src/connections/app-connection.entity.ts';
import { openDatabase } from '../src/database/database.ts';
import { sql } from '../src/database/sql.ts';
import { Project } from '../src/identity/organisation.entity.ts';
import { administer, emptyDatabase, testDatabaseUrl, withoutPooler } from './testkit/database.ts';
import { fillOrganisation } from './testkit/filled-organisation.ts';
import { byIdQuery, type Created, createMutation, okta } from './testkit/operations.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { listTables } from './testkit/without-tenant-filters.ts';

let server: TestServer;
let mine: TestOrganisation;
let theirs: TestOrganisation;

beforeAll(async () => {
  server = await startTestServer();
  [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
  for (const each of [mine, theirs]) await fillOrganisation(server, each);
});
afterAll(() => server.close());

/** The tables without an organisation, and those that only the system sees. */
const ofNobody = ['audit_stream', 'audit_stream_position', 'organisation_deletion', 'rate_limit'];

/** The organisations whose rows in a table are visible to a statement of this organisation. */
async function seen(
  table: string,
  orgId: string,
  as = server.database.forOrganisation(orgId),
): Promise<unknown[]> {
  const column = table === 'organisation' ? 'id' : 'org_id';
  const rows = await as.execute<{ org: string }[]>(`select distinct ${column} as org from "${table}"`);
  return rows.map(({ org }) => org).sort();
}

describe('row-level security', () => {
  test('is enabled and forced on every table', async () => {
    const tables = await listTables(server.asOwner());
    expect(tables.length).toBeGreaterThan(7);
    const secured = await server.asOwner().execute(`
      select relname as name from pg_class
      where relnamespace = 'public'::regnamespace and relrowsecurity and relforcerowsecurity
      order by relname`);
    expect(secured).toEqual(tables);
  });

  test('isolates organisations when a statement has no tenant filter', async () => {
    for (const { name } of await listTables(server.asOwner())) {
      if (ofNobody.includes(name)) continue;
      const everybody = await seen(name, '', server.asOwner());
      // Without hidden rows, the test would pass without isolation.
      expect([name, everybody]).toEqual([name, expect.arrayContaining([mine.orgId, theirs.orgId])]);
      expect([name, await seen(name, mine.orgId)]).toEqual([name, [mine.orgId]]);
      expect([name, await seen(name, randomUUID())]).toEqual([name, []]);
    }
  });

  test('isolates organisations whose connections are read in one statement', async () => {
    const [own, foreign] = await Promise.all(
      [mine, theirs].map(async ({ orgId }) => {
        const [row] = await server
          .asOwner()
          .execute<{ id: string }[]>('select id from app_connection where org_id = ?', [orgId]);
        return { orgId, id: row?.id };
      }),
    );
    const read = async (...keys: ({ orgId?: string; id?: string | undefined } | undefined)[]) => {
      const [orgIds, ids] = [keys.map((key) => key?.orgId), keys.map((key) => key?.id)];
      const source = sql`find_app_connections(${orgIds}::uuid[], ${ids}::uuid[])`;
      const found = await server.database.selectOfOrganisations(AppConnection, source);
      return found.map(({ orgId, id }) => ({ orgId, id }));
    };
    expect(await read(own, foreign)).toEqual([own, foreign]);
    expect(await read({ ...own, id: foreign?.id }, { ...foreign, id: own?.id })).toEqual([]);
    expect(await read({ id: own?.id })).toEqual([]);
    // The function leaves no organisation behind.
    const rest = sql`(select * from (select * from find_app_connections(${[own?.orgId]}::uuid[], ${[own?.id]}::uuid[]) offset 1) one
      union all select * from app_connection) as seen`;
    expect(await server.database.selectOfOrganisations(AppConnection, rest)).toEqual([]);
  });

  test('isolates organisations for writes', async () => {
    const em = () => server.database.forOrganisation(mine.orgId);
    const before = await server.asOwner().execute('select id, name from project order by id');
    const foreign = { id: randomUUID(), orgId: theirs.orgId, name: 'Planted', createdAt: new Date() };
    await expect(em().insert(Project, foreign)).rejects.toThrow(/row-level security/);
    await expect(
      em().execute('update project set org_id = ? where org_id = ?', [theirs.orgId, mine.orgId]),
    ).rejects.toThrow(/row-level security/);
    expect(await em().nativeUpdate(Project, { id: theirs.projectId }, { name: 'Taken over' })).toBe(0);
    expect(
      await em().execute('delete from app_connection where org_id <> ? returning id', [mine.orgId]),
    ).toEqual([]);
    expect(await server.asOwner().execute('select id, name from project order by id')).toEqual(before);
  });

  test('grants requests only the privileges that they need on each table', async () => {
    const em = () => server.database.forOrganisation(mine.orgId);
    for (const statement of [
      'delete from organisation',
      'update organisation set name = name',
      'insert into organisation (id, name, created_at) select id, name, created_at from organisation',
      'update data_key set wrapped = wrapped',
      'delete from data_key',
      'delete from api_key',
      'delete from project',
      'update audit_event set outcome = outcome',
      'delete from audit_event',
      'delete from audit_head',
      'update connection_usage set calls = calls',
      'delete from connection_usage_caller',
      'update connection_status_history set status = status',
      'insert into connection_last_use select * from connection_last_use',
      'truncate app_connection',
      'alter table app_connection disable row level security',
      'drop policy app_connection_tenant on app_connection',
      'create table mine (id uuid)',
      ...ofNobody.map((name) => `select * from ${name}`),
    ]) {
      await expect(em().execute(statement), statement).rejects.toThrow(/permission denied|must be owner/);
    }
  });

  test('uses roles that are not superusers, cannot log in and own nothing', async () => {
    const roles = await server.asOwner().execute(`
      select rolname as name, rolsuper or rolbypassrls or rolcanlogin or rolcreaterole or rolcreatedb as is_mighty,
        exists (select from pg_class where relowner = pg_roles.oid) as is_owner
      from pg_roles where rolname like 'app\\_connections\\_%' order by rolname`);
    expect(roles).toEqual([
      { name: 'app_connections_system', is_mighty: false, is_owner: false },
      { name: 'app_connections_tenant', is_mighty: false, is_owner: false },
    ]);
    const [now] = await server.database.forOrganisation(mine.orgId).execute('select current_user as name');
    expect(now).toEqual({ name: 'app_connections_tenant' });
  });
});

describe('shared pooled database connections', () => {
  test('have the session of the current organisation for interleaved requests', async () => {
    const organisations = [mine, theirs, await server.newOrganisation(), await server.newOrganisation()];
    const rounds = Array.from({ length: 200 }, (_, index) => organisations[index % 4]?.orgId ?? '');
    const answers = await Promise.all(rounds.map((orgId) => seen('project', orgId)));
    expect(answers).toEqual(rounds.map((orgId) => [orgId]));
  });

  test('have the session of the current organisation after failed statements and failed commits', async () => {
    for (let round = 0; round < 20; round += 1) {
      const work = server.database.forOrganisation(mine.orgId).transactional(async (em) => {
        expect(await seen('project', mine.orgId, em)).toEqual([mine.orgId]);
        await em.execute(round % 2 ? 'select 1/0' : "do $$ begin raise 'no' using errcode = '40001'; end $$");
      });
      const other = seen('project', theirs.orgId);
      await expect(work).rejects.toThrow();
      expect(await other).toEqual([theirs.orgId]);
      expect(await seen('project', mine.orgId)).toEqual([mine.orgId]);
    }
  });

  test('show no rows without an organisation in the session', async () => {
    expect(await seen('project', '')).toEqual([]);
  });
});

describe.runIf(testDatabaseUrl)('database user without superuser privileges', () => {
  const user = `app_connections_test_user_${randomUUID().slice(0, 8)}`;
  const poor = `${user}_poor`;
  afterAll(() => administer(`drop role if exists ${user}, ${poor}`));

  test('can run the server with roles that an administrator created', async () => {
    await administer(`create role ${user} login password 'test'`);
    await administer(`grant app_connections_tenant, app_connections_system to ${user}`);
    await using database = await emptyDatabase();
    // A pooler does not know the user.
    const url = new URL(withoutPooler(database).url.reveal());
    await administer(`alter database ${url.pathname.slice(1)} owner to ${user}`);
    url.username = user;
    url.password = 'test';
    const own = await startTestServer({ location: { kind: 'postgresql', url: new Secret(url.href) } });
    const [one, other] = [await own.newOrganisation(), await own.newOrganisation()];
    const { createOktaConnection } = await one.client.request<Created>(createMutation, okta());
    const { id } = createOktaConnection.appConnection;
    expect(await one.client.request(byIdQuery, { id })).toMatchObject({ appConnection: { id } });
    const [error] = await errorsOf(other.client.request(byIdQuery, { id }));
    expect(error?.extensions.code).toBe('NOT_FOUND');
    expect(await own.database.forOrganisation(other.orgId).execute('select id from app_connection')).toEqual(
      [],
    );
    await own.close();
  });

  test('gets an explanation at start when the roles are missing and it may not create them', async () => {
    await administer(`create role ${poor} login password 'test'`);
    await using database = await emptyDatabase();
    // A pooler does not know the user.
    const url = new URL(withoutPooler(database).url.reveal());
    await administer(`alter database ${url.pathname.slice(1)} owner to ${poor}`);
    url.username = poor;
    url.password = 'test';
    const location = { kind: 'postgresql', url: new Secret(url.href) } as const;
    await expect(openDatabase(location, entities, createLog('silent'))).rejects.toThrow(
      /^DATABASE_URL: this user may not create tables or roles; .*docs\/operations\/postgresql\.md.* \(42501\)$/,
    );
  });
});
