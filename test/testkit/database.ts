import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { MikroORM } from '@mikro-orm/postgresql';
import type { DatabaseLocation } from '../../src/database/database.ts';
import { Secret } from '../../src/secrets/secret.ts';
import { temporaryFolder } from './process.ts';

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

/** An embedded database with all migrations done; making one takes seconds, copying one a fraction of that. */
export const templateFile = 'TEST_EMBEDDED_TEMPLATE';

/** As an empty database, but for migrations that may have been done. */
export async function freshDatabase(): ReturnType<typeof emptyDatabase> {
  const template = process.env[templateFile];
  if (testDatabaseUrl || !template) return emptyDatabase();
  return disposable(
    { kind: 'embedded', copyOf: async () => (await readFile(template)).buffer },
    async () => {},
  );
}

/**
 * What a process has to have in its environment to keep its data in a folder of its own, or beside it in an empty
 * database of the PostgreSQL under test.
 */
export async function emptyData(stack: AsyncDisposableStack): Promise<Record<string, string>> {
  const folder = stack.use(temporaryFolder());
  const { location } = stack.use(await emptyDatabase());
  return {
    DATA_DIR: folder.path,
    ...(location.kind === 'postgresql' && { DATABASE_URL: location.url.reveal() }),
  };
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
