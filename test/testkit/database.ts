import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { MikroORM } from '@mikro-orm/postgresql';
import type { DatabaseLocation } from '../../src/database/database.ts';
import type { EmbeddedLocation } from '../../src/database/embedded.ts';
import { Secret } from '../../src/secrets/secret.ts';
import { temporaryFolder } from './process.ts';

/** A PostgreSQL on which databases may be made; without it, tests run on the embedded database. */
export const testDatabaseUrl = process.env.TEST_DATABASE_URL;

/** A database and how to drop it; disposing of it drops it too. */
type TestDatabase = AsyncDisposable & { location: DatabaseLocation; drop: () => Promise<void> };

/** An empty database of the kind under test. */
export async function emptyDatabase(): Promise<TestDatabase> {
  return testDatabaseUrl ? createDatabase(testDatabaseUrl) : embedded({ kind: 'embedded' });
}

/** The archive of an embedded database with all migrations applied, which `prepare.ts` writes. */
export const templateFile = 'TEST_EMBEDDED_TEMPLATE';
/** The name of a database on PostgreSQL with all migrations applied, which `prepare.ts` creates. */
export const templateDatabase = 'TEST_POSTGRESQL_TEMPLATE';

/** A database with all migrations applied, copied from the template of this run: that is faster than to migrate. */
export async function freshDatabase(): Promise<TestDatabase> {
  if (testDatabaseUrl) return createDatabase(testDatabaseUrl, process.env[templateDatabase]);
  const template = process.env[templateFile];
  return embedded({
    kind: 'embedded',
    ...(template && { copyOf: async () => (await readFile(template)).buffer }),
  });
}

async function createDatabase(server: string, template?: string): Promise<TestDatabase> {
  const name = `app_connections_test_${randomUUID().replaceAll('-', '')}`;
  await administer(`create database ${name}${template ? ` template ${template}` : ''}`);
  const url = new URL(server);
  url.pathname = name;
  const drop = () => administer(`drop database if exists ${name} with (force)`);
  return { location: { kind: 'postgresql', url: new Secret(url.href) }, drop, [Symbol.asyncDispose]: drop };
}

function embedded(location: EmbeddedLocation): TestDatabase {
  const drop = async () => {};
  return { location, drop, [Symbol.asyncDispose]: drop };
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

/** Runs a statement on the PostgreSQL under test, outside of any test's database unless it is named. */
export async function administer(sql: string, databaseUrl = testDatabaseUrl): Promise<void> {
  const orm = await MikroORM.init({
    clientUrl: databaseUrl,
    entities: [],
    discovery: { warnWhenNoEntities: false },
  });
  try {
    await orm.em.execute(sql);
  } finally {
    await orm.close(true);
  }
}
