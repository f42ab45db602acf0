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
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { StartupError } from '../common/errors.ts';
import { Secret } from '../common/secret.ts';

/** What SQLite says of a lock that somebody holds. */
const sqliteBusy = 5;

/** The folder of the embedded database and the generated keys. */
export class DataDir {
  readonly path: string;

  /** Makes the folder, readable by nobody else, if it is not there. */
  constructor(path: string) {
    this.path = path;
    withStartupErrors(path, () => {
      createFolder(resolve(path));
      accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    });
  }

  /** The file that holds a secret. */
  pathTo(name: string): string {
    return join(this.path, name);
  }

  /** The secret in the file of this name, or undefined when there is no such file. */
  read(name: string): Secret | undefined {
    const file = this.pathTo(name);
    if (!withStartupErrors(this.path, () => existsSync(file))) return undefined;
    return new Secret(withStartupErrors(file, () => readFileSync(file, 'utf8')).trim());
  }

  /** As `read`, but makes the file, readable by nobody else, if it is not there. */
  readOrCreate(name: string, make: () => string): Secret {
    const file = this.pathTo(name);
    if (!withStartupErrors(this.path, () => existsSync(file))) {
      // Written aside and linked into place, so that of two servers that start at once both get the whole of one.
      const aside = `${file}.${process.pid}`;
      withStartupErrors(this.path, () => {
        writeFileSync(aside, `${make()}\n`, { mode: 0o600 });
        try {
          linkSync(aside, file);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        } finally {
          unlinkSync(aside);
        }
      });
    }
    return new Secret(withStartupErrors(file, () => readFileSync(file, 'utf8')).trim());
  }

  /** Writes the file, readable by nobody else, in one step. */
  replace(name: string, text: string): void {
    const aside = `${this.pathTo(name)}.${process.pid}`;
    withStartupErrors(this.path, () => {
      writeFileSync(aside, `${text}\n`, { mode: 0o600 });
      renameSync(aside, this.pathTo(name));
    });
  }

  /** @returns whether there was such a file; of two that remove it at once, one hears so */
  remove(name: string): boolean {
    return withStartupErrors(this.path, () => {
      try {
        unlinkSync(this.pathTo(name));
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
        throw error;
      }
    });
  }

  /**
   * Checks that this user may write everything in a folder, as far as there is one. The embedded database says of files
   * of another user that it is damaged.
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
   * Keeps every other server out of the folder until `release()` or the end of the process, however it ends:
   * the lock is one of the operating system, taken by way of SQLite, so nothing stale can be left behind.
   *
   * @throws StartupError when another server has it
   */
  lock(): { release(): void } {
    const file = this.pathTo('lock');
    // SQLite does not say why it cannot open a file.
    withStartupErrors(file, () => closeSync(openSync(file, 'a', 0o600)));
    const lock = withStartupErrors(file, () => new DatabaseSync(file));
    try {
      lock.exec('begin exclusive');
    } catch (error) {
      lock.close();
      const isBusy = (error as { errcode?: unknown }).errcode === sqliteBusy;
      throw new StartupError(
        isBusy
          ? `DATA_DIR ${this.path}: another server is using this folder; stop it, or set DATA_DIR`
          : `DATA_DIR ${file}: cannot be used as a lock; remove this file, which contains no data`,
      );
    }
    return { release: () => lock.close() };
  }
}

/** Folder by folder: Node's own recursion never ends where the file system refuses folders as if they were not there. */
function createFolder(path: string): void {
  if (existsSync(path) && statSync(path).isDirectory()) return;
  if (!existsSync(dirname(path))) createFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another server may have made it a moment ago.
    if (!existsSync(path) || !statSync(path).isDirectory()) throw error;
  }
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'this user has no permission to read or write it',
  EPERM: 'this user has no permission to read or write it',
  EROFS: 'its file system is read-only',
  ENOSPC: 'its disk is full',
  EDQUOT: 'its disk quota is exceeded',
  ENOTDIR: 'it is a file, or inside a file',
  EEXIST: 'it is a file, or inside a file',
  EISDIR: 'it is a folder and must be a file',
  ENAMETOOLONG: 'its name is too long',
  ENOENT: 'its file system cannot create a folder there',
  EMFILE: 'too many files are open',
};

function withStartupErrors<T>(place: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new StartupError(`DATA_DIR ${place}: ${reasons[code] ?? 'cannot be read or written'} (${code})`);
  }
}
