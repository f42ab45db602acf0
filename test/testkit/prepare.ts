import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PGlite } from '@electric-sql/pglite';
import { openDatabase } from '../../src/database/database.ts';
import { entities } from '../../src/entities.ts';
import { createLog } from '../../src/log.ts';
import { emptyDatabase, templateDatabase, templateFile, testDatabaseUrl } from './database.ts';
import { temporaryFolder } from './process.ts';

/** Prints which kind of database a run tests, and migrates one database once, which each test then copies. */
export default async function prepare(): Promise<() => Promise<void>> {
  console.log(`Database: ${testDatabaseUrl ? 'PostgreSQL of TEST_DATABASE_URL' : 'embedded'}`);
  const stack = new AsyncDisposableStack();
  const { location } = stack.use(await emptyDatabase());
  if (location.kind === 'postgresql') {
    // Closed at once: PostgreSQL copies a database only while nobody is connected to it.
    await (await openDatabase(location, entities, createLog('silent'))).close();
    process.env[templateDatabase] = new URL(location.url.reveal()).pathname.slice(1);
  } else {
    const file = join(stack.use(temporaryFolder()).path, 'template.tar');
    writeFileSync(file, await migratedEmbedded());
    process.env[templateFile] = file;
  }
  return () => stack.disposeAsync();
}

/** The data folder of an embedded database with all migrations applied, as a tar archive. */
async function migratedEmbedded(): Promise<Uint8Array> {
  const database = await openDatabase({ kind: 'embedded' }, entities, createLog('silent'));
  const client: PGlite = await database.forkAcross().getConnection().getNativeClient();
  const archive = await client.dumpDataDir('none');
  await database.close();
  return archive.bytes();
}
