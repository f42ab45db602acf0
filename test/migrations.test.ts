import { readFileSync } from 'node:fs';
import type { MikroORM } from '@mikro-orm/postgresql';
import { expect, test, vi } from 'vitest';
import { entities } from '../src/bootstrap/entities.ts';
import { compareVersions } from '../src/common/compare-versions.ts';
import { StartupError } from '../src/common/errors.ts';
import { createLog } from '../src/common/log.ts';
import { version } from '../src/common/server-identity.ts';
import { openDatabase } from '../src/database/database.ts';
import { inSession, ownerSession } from '../src/database/driver/session.ts';
import type { DatabaseLocation } from '../src/database/location.ts';
import { migrations } from '../src/database/migrations/list.ts';
import { openOrm } from '../src/database/open-orm.ts';
import { lastingData } from './testkit/database.ts';
import { createConnection, updateMutation } from './testkit/operations.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer } from './testkit/server.ts';

// Each test opens its database several times, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const log = createLog('silent');

/** Runs a statement as the user that connects, as another program would. */
async function execute<Row>(location: DatabaseLocation, sql: string): Promise<Row[]> {
  const orm: MikroORM = await openOrm(location, entities, log);
  try {
    return await inSession(ownerSession, () => orm.em.fork().execute<Row[]>(sql));
  } finally {
    await orm.close(true);
  }
}

async function open(location: DatabaseLocation): Promise<void> {
  const database = await openDatabase(location, entities, log);
  await database.close();
}

async function errorOfOpening(location: DatabaseLocation): Promise<string> {
  const error = await open(location).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StartupError);
  return (error as StartupError).message;
}

test('a server refuses a database that a newer version has migrated', async () => {
  await using stack = new AsyncDisposableStack();
  const { location } = await lastingData(stack);
  await execute(location, `insert into mikro_orm_migrations (name) values ('9999-future')`);
  expect(await errorOfOpening(location)).toMatch(
    /a newer version of the server has migrated it \(9999-future\); start that version/,
  );
  await execute(
    location,
    `update mikro_orm_migrations set oldest_server = '99.1.0' where name = '9999-future'`,
  );
  expect(await errorOfOpening(location)).toContain(
    `this server, ${version}, is older than it by more than one release: the migration 9999-future accepts servers from 99.1.0 on`,
  );
});

test('a server of the release before works on a database that a newer one has only expanded', async () => {
  await using stack = new AsyncDisposableStack();
  const { location } = await lastingData(stack);
  await execute(
    location,
    `do $$ declare name text; begin
      for name in select tablename from pg_tables where schemaname = current_schema() loop
        execute format('alter table %I add column added_since int not null default 1', name);
      end loop;
      create table table_added_since (id int);
      insert into mikro_orm_migrations (name, oldest_server) values ('9998-next', '${version}');
    end $$`,
  );
  const server = await startTestServer({ location, rootKeys: rootKey('k1') });
  stack.defer(() => server.close());
  const organisation = await server.newOrganisation();
  const { id } = await createConnection(organisation, { name: 'before' });
  await organisation.client.request(updateMutation, { id, input: { name: 'after' } });
  const { appConnection } = await organisation.client.request<{ appConnection: { name: string } }>(
    'query ($id: UUID!) { appConnection(id: $id) { name verification { status } } }',
    { id },
  );
  expect(appConnection).toEqual({ name: 'after', verification: { status: 'VERIFIED' } });
});

test('a migration accepts servers of a release that exists', () => {
  const released = readFileSync(new URL('../CHANGELOG.md', import.meta.url), 'utf8').matchAll(
    /^## \[(\d.*?)\]/gm,
  );
  const versions = [...released].map(([, each]) => each);
  expect(versions).toContain(version);
  for (const { oldestServer = version } of migrations) expect(versions).toContain(oldestServer);
});

test('versions are compared by their numbers', () => {
  const versions = ['0.4.0', '0.4.1', '0.10.0', '1.0.0'];
  for (const [index, each] of versions.entries())
    expect(versions.map((other) => Math.sign(compareVersions(other, each)))).toEqual(
      versions.map((_, at) => Math.sign(at - index)),
    );
  expect(compareVersions('0.5.0-rc.1', '0.5.0')).toBe(0);
});

test('a server accepts migrations of other programs in the same schema', async () => {
  await using stack = new AsyncDisposableStack();
  const { location } = await lastingData(stack);
  await execute(location, `insert into mikro_orm_migrations (name) values ('Migration20300101000000')`);
  await open(location);
});

test('a server refuses a database if a migration has changed since it was applied', async () => {
  await using stack = new AsyncDisposableStack();
  const { location } = await lastingData(stack);
  await execute(location, `update mikro_orm_migrations set checksum = 'other' where name = '0004-audit'`);
  expect(await errorOfOpening(location)).toMatch(/the migration 0004-audit has changed since it was applied/);
});

test('a server adds checksums to a database of a version without them', async () => {
  await using stack = new AsyncDisposableStack();
  const { location } = await lastingData(stack);
  const read = () =>
    execute<{ name: string; checksum: string }>(
      location,
      'select name, checksum from mikro_orm_migrations order by name',
    );
  const before = await read();
  for (const { checksum } of before) expect(checksum).toMatch(/^[\da-f]{64}$/);
  await execute(location, 'alter table mikro_orm_migrations drop column checksum');
  await open(location);
  expect(await read()).toEqual(before);
});

test('a server refuses a database whose policies were not restored', async () => {
  await using stack = new AsyncDisposableStack();
  const { location } = await lastingData(stack);
  for (const policy of ['app_connection_tenant', 'app_connection_system'])
    await execute(location, `drop policy ${policy} on app_connection`);
  expect(await errorOfOpening(location)).toMatch(
    /it was restored without the roles app_connections_tenant and app_connections_system; create them/,
  );
});
