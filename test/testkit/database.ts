import { randomUUID } from 'node:crypto';
import { cpSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MikroORM } from '@mikro-orm/postgresql';
import { Secret } from '../../src/common/secret.ts';
import type { EmbeddedLocation } from '../../src/database/embedded.ts';
import type { DatabaseLocation, PostgresqlLocation } from '../../src/database/location.ts';
import { readMigrated } from './embedded-pool.ts';
import { temporaryFolder } from './process.ts';
import { rootKey } from './root-key.ts';
import { archiveOf, emptyEmbedded, migratedEmbedded, templateDatabase } from './template-environment.ts';

/** A PostgreSQL server on which databases may be created; without it, tests run on the embedded database. */
export const testDatabaseUrl = process.env.TEST_DATABASE_URL;

/**
 * A PostgreSQL server like that of TEST_DATABASE_URL, but behind a pooler. Servers under test then connect to it, and use
 * TEST_DATABASE_URL as DATABASE_DIRECT_URL.
 */
export const poolerUrl = process.env.TEST_DATABASE_POOLER_URL;

/** A database and how to drop it; disposing of it drops it too. */
type TestDatabase<Location = DatabaseLocation> = AsyncDisposable & {
  location: Location;
  drop: () => Promise<void>;
};

/** An empty database of the kind under test. */
export async function emptyDatabase(): Promise<TestDatabase> {
  return testDatabaseUrl
    ? createDatabase(testDatabaseUrl)
    : inMemory(process.env[emptyEmbedded] && readEmpty);
}

/** Returns the location of a database on PostgreSQL past a pooler. */
export function withoutPooler({ location }: { location: DatabaseLocation }): PostgresqlLocation {
  if (location.kind !== 'postgresql') throw new Error('the test needs PostgreSQL');
  return { kind: 'postgresql', url: location.directUrl ?? location.url };
}

/** A database with all migrations applied, copied from the template of this run: that is faster than to migrate. */
export async function freshDatabase(): Promise<TestDatabase> {
  return testDatabaseUrl
    ? createDatabase(testDatabaseUrl, process.env[templateDatabase])
    : inMemory(process.env[migratedEmbedded] && readMigrated);
}

async function createDatabase(server: string, template?: string): Promise<TestDatabase<PostgresqlLocation>> {
  const name = `app_connections_test_${randomUUID().replaceAll('-', '')}`;
  await administer(`create database ${name}${template ? ` template ${template}` : ''}`);
  const at = (address: string) => {
    const url = new URL(address);
    url.pathname = name;
    return new Secret(url.href);
  };
  const direct = at(server);
  const location: PostgresqlLocation = poolerUrl
    ? { kind: 'postgresql', url: at(poolerUrl), directUrl: direct }
    : { kind: 'postgresql', url: direct };
  const drop = () => administer(`drop database if exists ${name} with (force)`);
  return { location, drop, [Symbol.asyncDispose]: drop };
}

async function readEmpty(): Promise<ArrayBuffer> {
  return (await readFile(archiveOf(process.env[emptyEmbedded] ?? ''))).buffer;
}

function inMemory(copyOf: EmbeddedLocation['copyOf'] | ''): TestDatabase {
  const location: EmbeddedLocation = { kind: 'embedded', ...(copyOf && { copyOf }) };
  const drop = async () => {};
  return { location, drop, [Symbol.asyncDispose]: drop };
}

/**
 * A DATA_DIR as the first start of a server leaves it, but without an organisation: with a root key, and an embedded
 * database with all migrations applied. It is copied, because to make one takes seconds.
 */
export function dataFolder(template?: string): Disposable & { path: string } {
  const folder = temporaryFolder();
  copyEmbeddedTemplate(folder.path, template);
  return folder;
}

/** Puts the files of `dataFolder` into a folder, if this run has an embedded template. */
export function copyEmbeddedTemplate(path: string, template = process.env[migratedEmbedded]): void {
  if (!template) return;
  cpSync(template, join(path, 'database'), { recursive: true });
  writeFileSync(join(path, 'encryption-keys'), rootKey('k1'), { mode: 0o600 });
}

/** Data that outlives the servers and processes that use it one after the other, in a folder or on PostgreSQL. */
interface LastingData {
  /** The DATA_DIR. */
  path: string;
  location: DatabaseLocation;
  /** The environment of a process that uses it. */
  environment: Record<string, string>;
}

/** A database for one server after another, in which there is nothing, or not even tables. */
export async function lastingData(
  stack: AsyncDisposableStack,
  { isMigrated = true }: { isMigrated?: boolean } = {},
): Promise<LastingData> {
  if (!testDatabaseUrl) {
    const { path } = stack.use(dataFolder(isMigrated ? undefined : process.env[emptyEmbedded]));
    const location = { kind: 'embedded', folder: join(path, 'database') } as const;
    return { path, location, environment: { DATA_DIR: path } };
  }
  const { path } = stack.use(temporaryFolder());
  const template = isMigrated ? process.env[templateDatabase] : undefined;
  const { location } = stack.use(await createDatabase(testDatabaseUrl, template));
  const environment = {
    DATA_DIR: path,
    DATABASE_URL: location.url.reveal(),
    ...(location.directUrl && { DATABASE_DIRECT_URL: location.directUrl.reveal() }),
  };
  return { path, location, environment };
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
