import { existsSync, readFileSync } from 'node:fs';
import { StartupError } from '../common/errors.ts';
import { Secret } from '../common/secret.ts';
import type { Config } from '../config/config.ts';
import { generateRootKey } from '../encryption/keyring.ts';
import type { DataDir } from './data-dir.ts';

/** Where the root keys come from. */
export interface RootKeySource {
  /** How to speak of it. */
  location: string;
  /** @throws StartupError */
  read(): Secret;
  /**
   * What is there now, while the server runs.
   *
   * @throws StartupError
   */
  reload(): Secret;
}

/**
 * The environment, the file that it names, or the generated file.
 *
 * @param databaseFolder that of the embedded database, if that is used
 */
export function resolveRootKeySource(
  { encryptionKeys, encryptionKeysFile }: Config,
  dataDir: DataDir | undefined,
  databaseFolder: string | undefined,
): RootKeySource {
  if (encryptionKeys) return environmentKeySource(encryptionKeys);
  if (encryptionKeysFile) return fileKeySource(encryptionKeysFile);
  if (dataDir) return generatedKeySource(dataDir, databaseFolder);
  throw new StartupError('ENCRYPTION_KEYS is not set');
}

function environmentKeySource(keys: Secret): RootKeySource {
  const location = 'ENCRYPTION_KEYS';
  return {
    location,
    read: () => keys,
    reload: () => {
      throw new StartupError(
        `${location}: the environment of a running process does not change; restart the server, or use ENCRYPTION_KEYS_FILE`,
      );
    },
  };
}

function fileKeySource(file: string): RootKeySource {
  const location = `ENCRYPTION_KEYS_FILE ${file}`;
  const read = () => {
    try {
      return new Secret(readFileSync(file, 'utf8'));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new StartupError(`${location}: cannot be read (${code ?? 'unknown error'})`);
    }
  };
  return { location, read, reload: read };
}

function generatedKeySource(dataDir: DataDir, databaseFolder: string | undefined): RootKeySource {
  const name = 'encryption-keys';
  const location = dataDir.pathTo(name);
  const missing = () =>
    new StartupError(`${location} is missing, and the data cannot be decrypted without it; restore the file`);
  return {
    location,
    read: () => {
      // A new key would open nothing of a database that is there already, so none is made for one.
      if (databaseFolder && existsSync(databaseFolder) && !existsSync(location)) throw missing();
      return dataDir.readOrCreate(name, generateRootKey);
    },
    reload: () => {
      const keys = dataDir.read(name);
      if (!keys) throw missing();
      return keys;
    },
  };
}
