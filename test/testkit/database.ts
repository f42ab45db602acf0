import { randomUUID } from 'node:crypto';
import { MikroORM } from '@mikro-orm/postgresql';
import type { DatabaseLocation } from '../../src/database/database.ts';
import { Secret } from '../../src/secrets/secret.ts';

/** A PostgreSQL on which databases may be made; without it, tests run on the embedded database. */
export const testDatabaseUrl = process.env.TEST_DATABASE_URL;

/** An empty database of the kind under test, and how to get rid of it; disposing of it does so too. */
export async function emptyDatabase(): Promise<
  AsyncDisposable & { location: DatabaseLocation; drop: () => Promise<void> }
> {
  if (!testDatabaseUrl) return disposable({ kind: 'embedded' }, async () => {});
  const name = `app_connections_test_${randomUUID().replaceAll('-', '')}`;
  await administer(`create database ${name}`);
  const url = new URL(testDatabaseUrl);
  url.pathname = name;
  return disposable({ kind: 'postgresql', url: new Secret(url.href) }, () =>
    administer(`drop database if exists ${name} with (force)`),
  );
}

function disposable(location: DatabaseLocation, drop: () => Promise<void>) {
  return { location, drop, [Symbol.asyncDispose]: drop };
}

/** Runs a statement on the PostgreSQL under test, outside of any test's database. */
export async function administer(sql: string): Promise<void> {
  const orm = await MikroORM.init({
    clientUrl: testDatabaseUrl,
    entities: [],
    discovery: { warnWhenNoEntities: false },
  });
  try {
    await orm.em.execute(sql);
  } finally {
    await orm.close(true);
  }
}
