import { execFileSync } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  globSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { PGlite } from '@electric-sql/pglite';
import { entities } from '../../src/bootstrap/entities.ts';
import { createLog } from '../../src/common/log.ts';
import { openDatabase } from '../../src/database/database.ts';
import { openOrm } from '../../src/database/open-orm.ts';
import { artefactCommand } from './artefact.ts';
import { emptyDatabase, testDatabaseUrl } from './database.ts';
import { temporaryFolder } from './process.ts';
import { bundleServer } from './server-bundle.ts';
import {
  archiveOf,
  dashboardFolder,
  emptyEmbedded,
  migratedEmbedded,
  serverCommand,
  templateDatabase,
} from './template-environment.ts';

/** Prints which kind of database a run tests, and migrates one database once, which each test then copies. */
export default async function prepare(): Promise<() => Promise<void>> {
  console.log(`Database: ${testDatabaseUrl ? 'PostgreSQL of TEST_DATABASE_URL' : 'embedded'}`);
  const stack = new AsyncDisposableStack();
  const memory = stack.use(memoryFolder());
  if (memory) process.env.TMPDIR = memory.path;
  const { path } = stack.use(temporaryFolder());
  process.env[dashboardFolder] = join(path, 'dashboard');
  if (!artefactCommand) process.env[serverCommand] = await bundleServer();
  if (testDatabaseUrl) {
    const { location } = stack.use(await emptyDatabase());
    if (location.kind !== 'postgresql') throw new Error('TEST_DATABASE_URL is no PostgreSQL');
    // Closed at once: PostgreSQL copies a database only while nobody is connected to it, and a pooler stays connected.
    const direct = { ...location, url: location.directUrl ?? location.url };
    await (await openDatabase(direct, entities, createLog('silent'))).close();
    process.env[templateDatabase] = new URL(location.url.reveal()).pathname.slice(1);
  } else {
    const [empty, migrated] = [join(path, 'empty'), join(path, 'migrated')];
    await prepareEmbedded(empty, migrated);
    process.env[emptyEmbedded] = empty;
    process.env[migratedEmbedded] = migrated;
  }
  return () => stack.disposeAsync();
}

/**
 * Creates a temporary folder in memory, in which an embedded database is created, copied and removed in a tenth of the processor
 * time that it takes on a disk.
 *
 * @returns undefined if there is no file system in memory, or if it is too small (64 MiB in most containers) or forbids programs
 */
function memoryFolder(): ReturnType<typeof temporaryFolder> | undefined {
  let folder: ReturnType<typeof temporaryFolder> | undefined;
  try {
    const { bavail, bsize } = statfsSync('/dev/shm');
    if (bavail * bsize < minMemoryBytes) return undefined;
    folder = temporaryFolder('/dev/shm');
    // Servers that run as another user have their folders in it.
    chmodSync(folder.path, 0o711);
    const program = join(folder.path, 'program');
    writeFileSync(program, '', { mode: 0o700 });
    accessSync(program, constants.X_OK);
    return folder;
  } catch {
    folder?.[Symbol.dispose]();
    return undefined;
  }
}

/** The folders of a run take less than 1 GiB at a time. */
const minMemoryBytes = 4 * 2 ** 30;

/**
 * Creates two embedded databases, one without tables and one with all migrations applied: each as a folder, and as a tar
 * archive beside it for those in memory.
 */
async function prepareEmbedded(empty: string, migrated: string): Promise<void> {
  const log = createLog('silent');
  const orm = await openOrm({ kind: 'embedded', folder: empty }, entities, log);
  const client: PGlite = await orm.em.getConnection().getNativeClient();
  // Two thirds of the files that each copy would have to read and write: PostgreSQL's templates of new databases.
  await client.exec('update pg_database set datistemplate = false, datallowconn = true');
  for (const template of ['template0', 'template1']) await client.exec(`drop database ${template}`);
  const emptyLog = await beginLogFile(client);
  await orm.close(true);
  cpSync(empty, migrated, { recursive: true });
  const database = await openDatabase({ kind: 'embedded', folder: migrated }, entities, log);
  const migratedLog = await beginLogFile(await database.asSystem().getConnection().getNativeClient());
  await database.close();
  archive(empty, emptyLog);
  archive(migrated, migratedLog);
}

/**
 * Makes PostgreSQL continue its write-ahead log in a new file and start from there, because PGlite writes no checkpoint when
 * it closes.
 *
 * @returns the name of the file, and its length
 */
async function beginLogFile(client: PGlite): Promise<LogFile> {
  await client.exec('select pg_switch_wal()');
  await client.exec('checkpoint');
  const results = await client.exec(
    'select file_name as name, file_offset as length from pg_walfile_name_offset(pg_current_wal_insert_lsn())',
  );
  const [file] = results[0]?.rows ?? [];
  return file as LogFile;
}

interface LogFile {
  name: string;
  length: number;
}

/**
 * Removes from the folder of a database that was closed what PostgreSQL does not need to start, three quarters of its bytes,
 * and writes its archive.
 */
function archive(folder: string, log: LogFile): void {
  // Maps of free space and of visibility, which PostgreSQL makes again.
  for (const file of globSync('base/*/*_{fsm,vm}', { cwd: folder })) rmSync(join(folder, file));
  for (const file of globSync('pg_wal/0*', { cwd: folder })) {
    if (file !== join('pg_wal', log.name)) rmSync(join(folder, file));
  }
  truncateSync(join(folder, 'pg_wal', log.name), Math.ceil(log.length / pageBytes) * pageBytes);
  execFileSync('tar', ['-cf', archiveOf(folder), '-C', folder, '.']);
}

/** A page of the write-ahead log. */
const pageBytes = 8_192;
