import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PGlite } from '@electric-sql/pglite';
import { openDatabase } from '../../src/database/database.ts';
import { entities } from '../../src/entities.ts';
import { createLog } from '../../src/log.ts';
import { templateFile, testDatabaseUrl } from './database.ts';
import { temporaryFolder } from './process.ts';

/** Says which database a run is about, and makes once what every test begins with. */
export default async function prepare(): Promise<() => void> {
  console.log(`Database: ${testDatabaseUrl ? 'PostgreSQL of TEST_DATABASE_URL' : 'embedded'}`);
  const folder = temporaryFolder();
  if (!testDatabaseUrl) {
    const database = await openDatabase({ kind: 'embedded' }, entities, createLog('silent'));
    const client: PGlite = await database.forkAcross().getConnection().getNativeClient();
    const template = await client.dumpDataDir('none');
    await database.close();
    const file = join(folder.path, 'template.tar');
    writeFileSync(file, await template.bytes());
    process.env[templateFile] = file;
  }
  return () => folder[Symbol.dispose]();
}
