import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { StartError } from './errors.ts';
import { Secret } from './secrets/secret.ts';

/** The folder of the embedded database and the generated keys. */
export class DataDir {
  readonly path: string;

  /** Makes the folder, readable by nobody else, if it is not there. */
  constructor(path: string) {
    this.path = path;
    guarded(path, () => mkdirSync(path, { recursive: true, mode: 0o700 }));
  }

  /** The file that holds a secret. */
  fileOf(name: string): string {
    return join(this.path, name);
  }

  /** The secret in the file of this name, or undefined when there is no such file. */
  read(name: string): Secret | undefined {
    const file = this.fileOf(name);
    if (!guarded(this.path, () => existsSync(file))) return undefined;
    return new Secret(guarded(file, () => readFileSync(file, 'utf8')).trim());
  }

  /** As `read`, but makes the file, readable by nobody else, if it is not there. */
  readOrMake(name: string, make: () => string): Secret {
    const file = this.fileOf(name);
    if (!guarded(this.path, () => existsSync(file))) {
      // Written aside and linked into place, so that of two servers that start at once both get the whole of one.
      const aside = `${file}.${process.pid}`;
      guarded(this.path, () => {
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
    return new Secret(guarded(file, () => readFileSync(file, 'utf8')).trim());
  }

  /** Writes the file, readable by nobody else, in one step. */
  replace(name: string, text: string): void {
    const aside = `${this.fileOf(name)}.${process.pid}`;
    guarded(this.path, () => {
      writeFileSync(aside, `${text}\n`, { mode: 0o600 });
      renameSync(aside, this.fileOf(name));
    });
  }

  /** @returns whether there was such a file; of two that remove it at once, one hears so */
  remove(name: string): boolean {
    return guarded(this.path, () => {
      try {
        unlinkSync(this.fileOf(name));
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
        throw error;
      }
    });
  }

  /**
   * Keeps every other server out of the folder until `release()` or the end of the process, however it ends:
   * the lock is one of the operating system, taken by way of SQLite, so nothing stale can be left behind.
   *
   * @throws StartError when another server has it
   */
  lock(): { release(): void } {
    const lock = guarded(this.path, () => new DatabaseSync(this.fileOf('lock')));
    try {
      lock.exec('begin exclusive');
    } catch {
      lock.close();
      throw new StartError(
        `DATA_DIR ${this.path}: another server is using this folder; stop it, or set DATA_DIR`,
      );
    }
    return { release: () => lock.close() };
  }
}

function guarded<T>(place: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartError(`DATA_DIR ${place}: cannot be read or written (${code ?? 'unknown error'})`);
  }
}
