import { join } from 'node:path';
import { StartupError } from '../common/errors.ts';
import type { Logger } from '../common/log.ts';
import type { Secret } from '../common/secret.ts';
import type { Config } from '../config/config.ts';
import { findConfigWarnings } from '../config/security-warnings.ts';
import { type Database, openDatabase } from '../database/database.ts';
import { limitMemory } from '../database/embedded.ts';
import { findWeakEntries, InvalidKeyringError, type Keyring, parseKeyring } from '../encryption/keyring.ts';
import { KmsUnavailableError } from '../encryption/root-key.ts';
import { DecryptionError, Vault } from '../encryption/vault.ts';
import { prepareRowMacs } from '../integrity/sign-rows.ts';
import { DataDir } from './data-dir.ts';
import { entities } from './entities.ts';
import { resolveRootKeySource } from './root-key-source.ts';

/** The data and the keys to it, open. */
export interface Stores {
  database: Database;
  vault: Vault;
  /** Absent in production, where nothing is generated. */
  dataDir: DataDir | undefined;
  /**
   * Opens what is stored with the keys, before anything is written.
   *
   * @throws StartupError when the keys do not open what is stored, or the first of them cannot wrap, or somebody has taken
   *   away what authenticates the rows of the database
   */
  unlock(): Promise<void>;
  /**
   * Reads the root keys again and puts them in force.
   *
   * @throws StartupError when they cannot be used; then those so far stay in force
   */
  reloadKeys(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the database, migrated. Production refuses what `findRisks` and `findWeakEntries` find, and development warns.
 *
 * @param options with `allowsWeakKeys`, only the first root key has to be good, so that others can be rotated away
 * @throws StartupError with one line that says what is wrong
 */
export async function openStores(
  config: Config,
  log: Logger,
  { allowsWeakKeys = false }: { allowsWeakKeys?: boolean } = {},
): Promise<Stores> {
  const warnings: string[] = [];
  const mind = (risks: readonly string[]): void => {
    if (config.production && risks.length > 0) throw new StartupError(risks.join('; '));
    warnings.push(...risks);
  };
  /** Once all is well otherwise: what cannot start says one thing, why. */
  const warn = () => {
    for (const warning of warnings.splice(0)) log.warn(warning);
  };
  mind(findConfigWarnings(config));
  const dataDir = config.production ? undefined : new DataDir(config.dataDir);
  const lock = config.databaseUrl ? undefined : dataDir?.lock();
  if (!config.databaseUrl) dataDir?.assertWritable('database');
  const folder = config.databaseUrl ? undefined : join(config.dataDir, 'database');
  const source = resolveRootKeySource(config, dataDir, folder);
  const parse = (keys: Secret) =>
    withLocation(source.location, async () => {
      const keyring = parseKeyring(keys);
      const weak = findWeakEntries(keys).filter(({ isFirst }) => isFirst || !allowsWeakKeys);
      mind(weak.map(({ sentence }) => `${source.location}: ${sentence}`));
      return keyring;
    });
  const vault = new Vault(await parse(source.read()), log);
  if (!config.databaseUrl) limitMemory();
  const database = await openDatabase(
    config.databaseUrl
      ? { kind: 'postgresql', url: config.databaseUrl }
      : { kind: 'embedded', ...(folder && { folder }) },
    entities,
    log,
  );
  const check = (keyring: Keyring, isNew: boolean) =>
    withLocation(source.location, async () => {
      await keyring.selfTest();
      await vault.checkKeys(database.asSystem(), { keyring: isNew ? keyring : undefined });
    });
  warn();
  return {
    database,
    vault,
    dataDir,
    unlock: async () => {
      await check(vault.keyring, false);
      await withLocation(source.location, () => prepareRowMacs({ database, vault }));
    },
    reloadKeys: async () => {
      mind(findConfigWarnings(config));
      const keyring = await parse(source.reload());
      await check(keyring, true);
      vault.keyring = keyring;
      warn();
    },
    close: async () => {
      await database.close();
      lock?.release();
    },
  };
}

/** Does something with the root keys, and names their place when they are at fault. */
async function withLocation<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof InvalidKeyringError || error instanceof DecryptionError)
      throw new StartupError(`${place}: ${error.message}`);
    if (error instanceof KmsUnavailableError) throw new StartupError(`${place}: ${error.reason}`);
    throw error;
  }
}
