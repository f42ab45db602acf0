import type { MikroORM } from '@mikro-orm/postgresql';
import { expect, test, vi } from 'vitest';
import { entities } from '../src/bootstrap/entities.ts';
import { StartupError } from '../src/common/errors.ts';
import { createLog } from '../src/common/log.ts';
import { openDatabase } from '../src/database/database.ts';
import { inSession, ownerSession } from '../src/database/driver/session.ts';
import type { DatabaseLocation } from '../src/database/location.ts';
import { openOrm } from '../src/database/open-orm.ts';
import { lastingData } from './testkit/database.ts';

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
