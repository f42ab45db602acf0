import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from './config.ts';
import { DataDir } from './data-dir.ts';
import { type Database, openDatabase } from './database/database.ts';
import { entities } from './entities.ts';
import { StartError } from './errors.ts';
import type { Logger } from './log.ts';
import { generateRootKey, type Keyring, parseKeyring } from './secrets/keyring.ts';
import type { Secret } from './secrets/secret.ts';
import { Vault } from './secrets/vault.ts';

const encryptionKeysFile = 'encryption-keys';

/** The data and the keys to it, open. */
export interface Stores {
  database: Database;
  vault: Vault;
  /** Absent in production, where nothing is generated. */
  dataDir: DataDir | undefined;
  /** @throws StartError when the keys do not open what is stored */
  checkKeys(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the database, migrated.
 *
 * @throws StartError with one line that says what is wrong
 */
export async function openStores(config: Config, log: Logger): Promise<Stores> {
  const dataDir = config.production ? undefined : new DataDir(config.dataDir);
  const lock = config.databaseUrl ? undefined : dataDir?.lock();
  const vault = new Vault(keyringOf(config, dataDir), log);
  const database = await openDatabase(
    config.databaseUrl
      ? { kind: 'postgresql', url: config.databaseUrl }
      : { kind: 'embedded', folder: databaseFolder(config) },
    entities,
    log,
  );
  return {
    database,
    vault,
    dataDir,
    checkKeys: () =>
      vault.checkKeys(database.forkAcross()).catch((error: Error) => {
        throw new StartError(`${placeOfKeys(config, dataDir)}: ${error.message}`);
      }),
    close: async () => {
      await database.close();
      lock?.release();
    },
  };
}

function keyringOf(config: Config, dataDir: DataDir | undefined): Keyring {
  const keys = config.encryptionKeys ?? generatedKeys(config, dataDir);
  try {
    if (!keys) throw new Error('there are none');
    return parseKeyring(keys);
  } catch (error) {
    throw new StartError(`${placeOfKeys(config, dataDir)}: ${(error as Error).message}`);
  }
}

/** A new key would open nothing of a database that is there already, so none is made for one. */
function generatedKeys(config: Config, dataDir: DataDir | undefined): Secret | undefined {
  const file = dataDir?.fileOf(encryptionKeysFile);
  if (!config.databaseUrl && existsSync(databaseFolder(config)) && file && !existsSync(file)) {
    throw new StartError(`${file} is missing, and without it the data cannot be opened; put it back`);
  }
  return dataDir?.readOrMake(encryptionKeysFile, generateRootKey);
}

function placeOfKeys(config: Config, dataDir: DataDir | undefined): string {
  return config.encryptionKeys || !dataDir ? 'ENCRYPTION_KEYS' : dataDir.fileOf(encryptionKeysFile);
}

function databaseFolder(config: Config): string {
  return join(config.dataDir, 'database');
}
