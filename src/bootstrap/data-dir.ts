import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { errorField } from '../common/error-field.ts';
import { StartupError } from '../common/errors.ts';
import { describeFileError } from '../common/file-error.ts';
import { Secret } from '../common/secret.ts';

/** SQLite's error code for a lock that another process holds. */
const sqliteBusy = 5;
/** How long a server waits for the lock, in milliseconds: a command that asks whether a server runs holds it for a moment. */
const lockWaitMs = 1_000;

/** The folder of the embedded database and the generated keys. */
export class DataDir {
  readonly path: string;

  /** Creates the folder, readable only by its owner, if it is missing. */
  constructor(path: string) {
    this.path = path;
    withStartupErrors(path, () => {
      createFolder(resolve(path));
      accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    });
  }

  /** Returns the path of a file in the folder. */
  pathTo(name: string): string {
    return join(this.path, name);
  }

  /** Reads a secret; undefined if the file is missing. */
  read(name: string): Secret | undefined {
    const file = this.pathTo(name);
    if (!withStartupErrors(this.path, () => existsSync(file))) return undefined;
    return new Secret(withStartupErrors(file, () => readFileSync(file, 'utf8')).trim());
  }

  /** Reads a secret, and creates the file, readable only by its owner, if it is missing. */
  readOrCreate(name: string, make: () => string): Secret {
    const file = this.pathTo(name);
    if (!withStartupErrors(this.path, () => existsSync(file))) {
      // Writes a temporary file and links it, so that two servers that start at once both read one complete file.
      const aside = `${file}.${process.pid}`;
      withStartupErrors(this.path, () => {
        writeFileSync(aside, `${make()}\n`, { mode: 0o600 });
        try {
          linkSync(aside, file);
        } catch (error) {
          if (errorField(error, 'code') !== 'EEXIST') throw error;
        } finally {
          unlinkSync(aside);
        }
      });
    }
    return new Secret(withStartupErrors(file, () => readFileSync(file, 'utf8')).trim());
  }

  /** Replaces the file, readable only by its owner, atomically. */
  replace(name: string, text: string): void {
    const aside = `${this.pathTo(name)}.${process.pid}`;
    withStartupErrors(this.path, () => {
      writeFileSync(aside, `${text}\n`, { mode: 0o600 });
      renameSync(aside, this.pathTo(name));
    });
  }

  /** @returns whether this call removed the file; only one of two concurrent calls does */
  remove(name: string): boolean {
    return withStartupErrors(this.path, () => {
      try {
        unlinkSync(this.pathTo(name));
        return true;
      } catch (error) {
        if (errorField(error, 'code') === 'ENOENT') return false;
        throw error;
      }
    });
  }

  /**
   * Checks that this user may write everything in a folder, if it exists. The embedded database reports the files of another
   * user as damage.
   *
   * @throws StartupError that names the first file that this user may not read or write
   */
  assertWritable(name: string): void {
    const folder = this.pathTo(name);
    if (!withStartupErrors(this.path, () => existsSync(folder) && statSync(folder).isDirectory())) return;
    const inside = withStartupErrors(folder, () =>
      readdirSync(folder, { recursive: true, encoding: 'utf8' }),
    );
    for (const path of [folder, ...inside.map((each) => join(folder, each))]) {
      withStartupErrors(path, () => accessSync(path, constants.R_OK | constants.W_OK));
    }
  }

  /**
   * Locks the folder against other servers until `release()` or the end of the process.
   *
   * @throws StartupError if another server holds the lock
   */
  lock(): { release(): void } {
    const lock = this.#tryLock(lockWaitMs);
    if (lock) return { release: () => lock.close() };
    throw new StartupError(
      `DATA_DIR ${this.path}: another server is using this folder; stop it, or set DATA_DIR`,
    );
  }

  /** Whether a server holds the lock. */
  isLocked(): boolean {
    const lock = this.#tryLock(0);
    lock?.close();
    return !lock;
  }

  /** SQLite takes a lock of the operating system, so no stale lock can remain. Undefined if another process holds it. */
  #tryLock(waitMs: number): DatabaseSync | undefined {
    const file = this.pathTo('lock');
    // SQLite does not report why it cannot open a file.
    withStartupErrors(file, () => closeSync(openSync(file, 'a', 0o600)));
    const lock = withStartupErrors(file, () => new DatabaseSync(file, { timeout: waitMs }));
    try {
      lock.exec('begin exclusive');
      return lock;
    } catch (error) {
      lock.close();
      if (error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy) return undefined;
      // SQLite does not report that it cannot create its journal because the disk is full.
      withStartupErrors(file, () => writeTemporaryFile(`${file}.${process.pid}`));
      throw new StartupError(
        `DATA_DIR ${file}: cannot be used as a lock; remove this file, which contains no data`,
      );
    }
  }
}

/** @throws an error of the file system if no file can be created and written there */
function writeTemporaryFile(path: string): void {
  try {
    writeFileSync(path, '\n', { mode: 0o600 });
  } finally {
    rmSync(path, { force: true });
  }
}

/** Creates one folder at a time: Node's recursive mkdir never returns on file systems that refuse folders with ENOENT. */
function createFolder(path: string): void {
  if (existsSync(path) && statSync(path).isDirectory()) return;
  if (!existsSync(dirname(path))) createFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another server may have created it concurrently.
    if (!existsSync(path) || !statSync(path).isDirectory()) throw error;
  }
}

const reasons = { ENOENT: 'its file system cannot create a folder there' };

function withStartupErrors<T>(place: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const code = errorField(error, 'code');
    if (code === undefined) throw error;
    throw new StartupError(`DATA_DIR ${place}: ${describeFileError(code, reasons)}`);
  }
}
