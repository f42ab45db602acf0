import { existsSync } from 'node:fs';
import { readConfiguredFile } from '../common/configured-file.ts';
import { StartupError } from '../common/errors.ts';
import { Secret } from '../common/secret.ts';
import type { Config } from '../config/config.ts';
import { generateRootKey } from '../encryption/keyring.ts';
import type { DataDir } from './data-dir.ts';

/** The source of the root keys. */
export interface RootKeySource {
  /** The name of the source in messages. */
  location: string;
  /** @throws StartupError */
  read(): Secret;
  /**
   * Reads the root keys again, while the server runs.
   *
   * @throws StartupError
   */
  reload(): Secret;
}

/**
 * Selects the source: the environment, the configured file, or the generated file.
 *
 * @param databaseFolder the folder of the embedded database, if it is used
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
  const setting = 'ENCRYPTION_KEYS_FILE';
  const read = () => new Secret(readConfiguredFile(setting, file).toString());
  return { location: `${setting} ${file}`, read, reload: read };
}

function generatedKeySource(dataDir: DataDir, databaseFolder: string | undefined): RootKeySource {
  const name = 'encryption-keys';
  const location = dataDir.pathTo(name);
  const missing = () =>
    new StartupError(`${location} is missing, and the data cannot be decrypted without it; restore the file`);
  return {
    location,
    read: () => {
      // A new key cannot decrypt an existing database, so none is generated beside one.
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
