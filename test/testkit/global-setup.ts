import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PGlite } from '@electric-sql/pglite';
import { entities } from '../../src/bootstrap/entities.ts';
import { createLog } from '../../src/common/log.ts';
import { openDatabase } from '../../src/database/database.ts';
import { emptyDatabase, testDatabaseUrl } from './database.ts';
import { temporaryFolder } from './process.ts';
import { dashboardFolder, templateDatabase, templateFile, templateFolder } from './template-environment.ts';

/** Prints which kind of database a run tests, and migrates one database once, which each test then copies. */
export default async function prepare(): Promise<() => Promise<void>> {
  console.log(`Database: ${testDatabaseUrl ? 'PostgreSQL of TEST_DATABASE_URL' : 'embedded'}`);
  const stack = new AsyncDisposableStack();
  const { path } = stack.use(temporaryFolder());
  process.env[dashboardFolder] = join(path, 'dashboard');
  if (testDatabaseUrl) {
    const { location } = stack.use(await emptyDatabase());
    if (location.kind !== 'postgresql') throw new Error('TEST_DATABASE_URL is no PostgreSQL');
    // Closed at once: PostgreSQL copies a database only while nobody is connected to it.
    await (await openDatabase(location, entities, createLog('silent'))).close();
    process.env[templateDatabase] = new URL(location.url.reveal()).pathname.slice(1);
  } else {
    await migrateEmbedded(join(path, 'database'), join(path, 'template.tar'));
    process.env[templateFolder] = join(path, 'database');
    process.env[templateFile] = join(path, 'template.tar');
  }
  return () => stack.disposeAsync();
}

/** Makes an embedded database with all migrations applied in a folder, and a tar archive of it for those in memory. */
async function migrateEmbedded(folder: string, file: string): Promise<void> {
  const database = await openDatabase({ kind: 'embedded', folder }, entities, createLog('silent'));
  const client: PGlite = await database.asSystem().getConnection().getNativeClient();
  // Two thirds of the files that each copy would have to read and write: PostgreSQL's templates of new databases.
  await client.exec('update pg_database set datistemplate = false, datallowconn = true');
  for (const template of ['template0', 'template1']) await client.exec(`drop database ${template}`);
  await client.exec('checkpoint');
  const archive = await client.dumpDataDir('none');
  writeFileSync(file, await archive.bytes());
  await database.close();
}
