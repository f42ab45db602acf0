import { execFile } from 'node:child_process';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import type { PGlite, Transaction } from '@electric-sql/pglite';
import type { MikroORM, Options, PostgreSqlDriver } from '@mikro-orm/postgresql';
import { StartupError } from '../common/errors.ts';
import { withBoundParameters } from './driver/bind-parameters.ts';
import { applySettingsSql, currentSession, sessionSettings } from './driver/session.ts';
import { diskFullCode } from './outage.ts';

/** Its log grows by files of 16 MiB; besides those, tables and indexes grow. */
const spareBytes = 40 * 2 ** 20;

/** The major version of the PostgreSQL in PGlite, as it writes it into its folder. */
const embeddedVersion = '18';

/** The embedded PostgreSQL (PGlite). */
export interface EmbeddedLocation {
  kind: 'embedded';
  /** Without one it lives in memory and dies with the process. */
  folder?: string;
  /** What it begins with in memory, where it is not to be empty: reads a tarball of such a folder. */
  copyOf?: () => Promise<ArrayBuffer>;
}

/** Optimising PostgreSQL's WebAssembly takes half a gigabyte at its peak and gains nothing at our load. */
const wasmFlags = ['--no-wasm-tier-up', '--no-wasm-dynamic-tiering'];

/**
 * Has this process use less memory and more processor time, for programs that keep an embedded database open: those
 * who need more speed have a PostgreSQL. V8's flags hold for all of the process, so a program sets them, no library function.
 */
export function limitMemory(): void {
  for (const flag of [...wasmFlags, '--optimize-for-size']) setFlagsFromString(flag);
}

/** @throws StartupError */
export async function openEmbedded(
  shared: Partial<Options>,
  { folder, copyOf }: EmbeddedLocation,
): Promise<MikroORM> {
  const [{ MikroORM, PgliteConnection, PgliteDriver }, { PGlite }] = await Promise.all([
    import('@mikro-orm/pglite'),
    import('@electric-sql/pglite'),
  ]);
  if (folder !== undefined) await prepare(folder);
  const orm = await MikroORM.init({
    ...shared,
    // To the types, as to all who use it, it is a PostgreSQL.
    driver: withBoundParameters(PgliteDriver, PgliteConnection) as unknown as typeof PostgreSqlDriver,
    dbName: folder ?? 'memory://',
    driverOptions: {
      // MikroORM copies what it is given, and a copy of a Blob is none; of one, no more than this is looked at.
      ...(copyOf && { loadDataDir: { type: 'application/x-tar', arrayBuffer: copyOf } as Blob }),
      startParams: [...PGlite.defaultStartParams, '-c', 'shared_buffers=8MB', '-c', 'wal_buffers=1MB'],
    },
  });
  patchPglite(await orm.em.getConnection().getNativeClient(), folder);
  return orm;
}

async function prepare(folder: string): Promise<void> {
  // Recovery writes too, whatever state the data was left in.
  if (!(await hasFreeDiskSpace(dirname(folder)))) {
    throw new StartupError(
      `DATA_DIR: the disk of ${dirname(folder)} is full; the embedded database needs 40 MiB free`,
    );
  }
  if (!existsSync(folder)) await initialise(folder);
  if (!existsSync(join(folder, 'PG_VERSION'))) {
    throw new StartupError(
      `DATA_DIR: ${folder} is not a database; put the whole of it back, or move it away`,
    );
  }
  const version = readFileSync(join(folder, 'PG_VERSION'), 'utf8').trim();
  if (version !== embeddedVersion) {
    throw new StartupError(
      `DATA_DIR: ${folder} is of PostgreSQL ${/^\d{1,3}$/.test(version) ? version : '(unknown)'}, and this server ` +
        `embeds ${embeddedVersion}; start the version of it that made the folder, or set DATA_DIR to another`,
    );
  }
}

/**
 * Makes an empty database, aside and then renamed, so that a start that is cut off leaves no half of one; and in a
 * process of its own, which gives back the hundreds of megabytes that it takes when it ends.
 */
async function initialise(folder: string): Promise<void> {
  const aside = `${folder}.new`;
  rmSync(aside, { recursive: true, force: true });
  const script = fileURLToPath(new URL('./initialise-embedded.ts', import.meta.url));
  await promisify(execFile)(process.execPath, [...wasmFlags, script, aside]);
  renameSync(aside, folder);
}

/**
 * Puts the one connection, which is lent for one statement or transaction at a time, into the session of its borrower;
 * and lets nobody write while the disk is about to be full: PGlite would try for ever.
 */
function patchPglite(database: PGlite, folder: string | undefined): void {
  const query = database.query.bind(database);
  const transaction = database.transaction.bind(database);
  let settled: string | undefined;
  const ready = async (isWrite: boolean) => {
    if (isWrite && folder !== undefined && !(await hasFreeDiskSpace(folder))) throw new DiskFullError();
    const settings = sessionSettings(currentSession());
    const session = settings.join();
    if (settled === session) return;
    settled = undefined;
    await query(applySettingsSql, settings);
    settled = session;
  };
  const running = trackWork(database);
  database.query = running(async (...given) => {
    await ready(isWrite(given[0]));
    return query(...given);
  });
  database.transaction = running(async (work) => {
    // Whoever has begun a transaction waits for it to have begun, and only then hears of its statements.
    const refusal = await ready(true).then(
      () => undefined,
      (error: unknown) => error,
    );
    return transaction((tx) => work(refusal === undefined ? tx : rejectWrites(tx, refusal)));
  });
}

/**
 * Has `close` wait for the statements and transactions that run, and refuse all others: PGlite loops for ever in a
 * transaction that it is closed under.
 */
function trackWork(database: PGlite) {
  const running = new Set<Promise<unknown>>();
  let isClosing = false;
  const close = database.close.bind(database);
  database.close = async () => {
    isClosing = true;
    await Promise.allSettled(running);
    return close();
  };
  return <Given extends unknown[], Result>(work: (...given: Given) => Promise<Result>) =>
    async (...given: Given): Promise<Result> => {
      if (isClosing) throw new Error('PGlite is closed');
      const piece = work(...given);
      running.add(piece);
      try {
        return await piece;
      } finally {
        running.delete(piece);
      }
    };
}

function isWrite(sql: string): boolean {
  return !/^\s*select\b/i.test(sql);
}

function rejectWrites(transaction: Transaction, refusal: unknown): Transaction {
  return { ...transaction, query: () => Promise.reject(refusal), exec: () => Promise.reject(refusal) };
}

async function hasFreeDiskSpace(folder: string): Promise<boolean> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize >= spareBytes;
}

/** As PostgreSQL would say it, if it could. */
class DiskFullError extends Error {
  readonly code = diskFullCode;
}
