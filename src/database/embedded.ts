import { execFile } from 'node:child_process';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { PGlite, Transaction } from '@electric-sql/pglite';
import type { MikroORM, Options, PostgreSqlDriver } from '@mikro-orm/postgresql';
import { StartupError } from '../common/errors.ts';
import { withBoundParameters } from './driver/bind-parameters.ts';
import { currentSession, sessionStatement } from './driver/session.ts';
import { endSpanAfter, startStatementSpan, startTransactionSpan } from './driver/statement-span.ts';
import { getPrecompiled, wasmFlags } from './embedded-files.ts';
import { diskFullCode } from './outage.ts';

/** The write-ahead log grows by segments of 16 MiB, and tables and indexes grow too. */
const minFreeBytes = 40 * 2 ** 20;
/** Segments of the log, tables and indexes are files. */
const minFreeInodes = 100;
/** A new database has about 1,070 files and folders. */
const minFreeInodesToCreate = 1_500;

/** The major version of the PostgreSQL in PGlite, as in the file `PG_VERSION`. */
const embeddedVersion = '18';

/** The location of an embedded database (PGlite). */
export interface EmbeddedLocation {
  kind: 'embedded';
  /** Without a folder, the database is in memory and ends with the process. */
  folder?: string;
  /** Reads a tarball of a data folder, with which a database in memory starts. */
  copyOf?: () => Promise<ArrayBuffer>;
}

/**
 * Opens an embedded database, and creates it if its folder does not exist.
 *
 * @throws StartupError
 */
export async function openEmbedded(
  shared: Partial<Options>,
  { folder, copyOf }: EmbeddedLocation,
): Promise<MikroORM> {
  const [{ MikroORM, PgliteConnection, PgliteDriver }, { PGlite, types }] = await Promise.all([
    import('@mikro-orm/pglite'),
    import('@electric-sql/pglite'),
  ]);
  if (folder !== undefined) await prepareFolder(folder);
  const pgliteWasmModule = await getPrecompiled();
  const orm = await MikroORM.init({
    ...shared,
    // Callers use the embedded database as a PostgreSQL, so the types say the same.
    driver: withBoundParameters(PgliteDriver, PgliteConnection) as unknown as typeof PostgreSqlDriver,
    dbName: folder ?? 'memory://',
    driverOptions: {
      // MikroORM copies its options, and a copied Blob does not work. PGlite reads only these two members.
      ...(copyOf && { loadDataDir: { type: 'application/x-tar', arrayBuffer: copyOf } as Blob }),
      // It is copied by its method, if it has one.
      ...(pgliteWasmModule && {
        pgliteWasmModule: Object.assign(pgliteWasmModule, { clone: () => pgliteWasmModule }),
      }),
      startParams: [...PGlite.defaultStartParams, '-c', 'shared_buffers=8MB', '-c', 'wal_buffers=1MB'],
    },
  });
  const database: PGlite = await orm.em.getConnection().getNativeClient();
  removeUnusedParsers(database, types.parsers);
  patchPglite(database, folder);
  return orm;
}

/** The array types that statements return, by OID: int4, text, varchar, timestamptz and uuid. */
const returnedArrays = new Set(['1007', '1009', '1015', '1185', '2951']);

/**
 * PGlite copies its parsers for each statement. It has one for each of 300 array types, which took half of the processor time
 * of a small statement.
 *
 * @param builtIn the parsers of types that are no arrays
 */
function removeUnusedParsers(database: PGlite, builtIn: object): void {
  const isUsed = ([oid]: [string, unknown]) => oid in builtIn || returnedArrays.has(oid);
  database.parsers = Object.fromEntries(Object.entries(database.parsers).filter(isUsed));
}

async function prepareFolder(folder: string): Promise<void> {
  const isNew = !existsSync(folder);
  const inodes = isNew ? minFreeInodesToCreate : minFreeInodes;
  // Crash recovery writes too.
  const shortage = await findShortage(dirname(folder), inodes);
  if (shortage === 'bytes') {
    throw new StartupError(
      `DATA_DIR: the disk of ${dirname(folder)} is full; the embedded database needs 40 MiB free`,
    );
  }
  if (shortage === 'inodes') {
    throw new StartupError(
      `DATA_DIR: the file system of ${dirname(folder)} has too few free inodes (ENOSPC); the embedded database needs ${inodes}`,
    );
  }
  if (isNew) await initialise(folder);
  if (!existsSync(join(folder, 'PG_VERSION'))) {
    throw new StartupError(
      `DATA_DIR: ${folder} is not a database folder; restore all of it, or move it away`,
    );
  }
  const version = readFileSync(join(folder, 'PG_VERSION'), 'utf8').trim();
  if (version !== embeddedVersion) {
    throw new StartupError(
      `DATA_DIR: ${folder} has the format of PostgreSQL ${/^\d{1,3}$/.test(version) ? version : '(unknown)'}, but this server ` +
        `embeds ${embeddedVersion}; start the server version that created the folder, or set DATA_DIR to another folder`,
    );
  }
}

/**
 * Creates an empty database in a temporary folder and renames it, so that an interrupted start leaves no incomplete
 * database. A child process does it, because that takes hundreds of megabytes, which the operating system gets back when
 * the process ends.
 *
 * @throws an error of the child process, whose `code` is an error number of WASI if the file system has failed
 */
async function initialise(folder: string): Promise<void> {
  const temporary = `${folder}.new`;
  rmSync(temporary, { recursive: true, force: true });
  const script = fileURLToPath(new URL(`./initialise-embedded${extname(import.meta.url)}`, import.meta.url));
  try {
    await promisify(execFile)(process.execPath, [...wasmFlags, script, temporary]);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
  renameSync(temporary, folder);
}

/**
 * Applies the current session to the one connection of PGlite when it differs from the last one, and refuses writes
 * while the disk is nearly full, because PGlite would retry a failed write forever.
 */
function patchPglite(database: PGlite, folder: string | undefined): void {
  const query = database.query.bind(database);
  const transaction = database.transaction.bind(database);
  let appliedSession: string | undefined;
  const prepare = async (isWrite: boolean) => {
    if (isWrite && folder !== undefined && (await findShortage(folder))) throw new DiskFullError();
    const { text, values } = sessionStatement(currentSession(), 'connection');
    const session = values.join();
    if (appliedSession === session) return;
    appliedSession = undefined;
    await query(text, values);
    appliedSession = session;
  };
  const track = trackTasks(database);
  const runStatement: typeof query = track(async (...args) => {
    await prepare(isWrite(args[0]));
    return query(...args);
  });
  database.query = (...args) => endSpanAfter(startStatementSpan(args[0]), runStatement(...args));
  const runTransaction: typeof transaction = track(async (task) => {
    // MikroORM waits for the transaction to begin, so its statements report the error instead.
    const error = await prepare(true).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    return transaction((tx) => task(error === undefined ? tx : rejectStatements(tx, error)));
  });
  database.transaction = (task) => endSpanAfter(startTransactionSpan(), runTransaction(task));
}

/**
 * Makes `close` wait for running statements and transactions and refuse new ones. Works around
 * https://github.com/electric-sql/pglite/issues/1058: PGlite loops forever if it is closed meanwhile.
 */
function trackTasks(database: PGlite) {
  const running = new Set<Promise<unknown>>();
  let isClosing = false;
  const close = database.close.bind(database);
  database.close = async () => {
    isClosing = true;
    await Promise.allSettled(running);
    return close();
  };
  return <Args extends unknown[], Result>(task: (...args: Args) => Promise<Result>) =>
    async (...args: Args): Promise<Result> => {
      if (isClosing) throw new Error('PGlite is closed');
      const result = task(...args);
      running.add(result);
      try {
        return await result;
      } finally {
        running.delete(result);
      }
    };
}

function isWrite(sql: string): boolean {
  return !/^\s*select\b/i.test(sql);
}

function rejectStatements(transaction: Transaction, error: unknown): Transaction {
  return { ...transaction, query: () => Promise.reject(error), exec: () => Promise.reject(error) };
}

/** Returns what the file system of a folder has too little of. */
async function findShortage(
  folder: string,
  minInodes = minFreeInodes,
): Promise<'bytes' | 'inodes' | undefined> {
  const { bavail, bsize, files, ffree } = await statfs(folder);
  if (bavail * bsize < minFreeBytes) return 'bytes';
  // Without a fixed number of inodes, such as btrfs, `files` is 0.
  return files > 0 && ffree < minInodes ? 'inodes' : undefined;
}

/** The disk is nearly full. The code is PostgreSQL's, which PGlite does not return. */
class DiskFullError extends Error {
  readonly code = diskFullCode;
}
