import { join } from 'node:path';
import { StartupError } from '../common/errors.ts';
import type { Logger } from '../common/log.ts';
import type { Secret } from '../common/secret.ts';
import type { Config } from '../config/config.ts';
import { findConfigWarnings } from '../config/security-warnings.ts';
import { type Database, openDatabase } from '../database/database.ts';
import { limitMemory } from '../database/embedded-files.ts';
import type { DatabaseLocation } from '../database/location.ts';
import { DecryptionError } from '../encryption/jwe.ts';
import { findWeakEntries, InvalidKeyringError, type Keyring, parseKeyring } from '../encryption/keyring.ts';
import { KmsUnavailableError } from '../encryption/root-key.ts';
import { Vault } from '../encryption/vault.ts';
import { prepareRowMacs } from '../integrity/sign-rows.ts';
import { DataDir } from './data-dir.ts';
import { entities } from './entities.ts';
import { resolveRootKeySource } from './root-key-source.ts';

/** The open database and its keys. */
export interface Stores {
  database: Database;
  vault: Vault;
  /** Absent in production, which generates nothing. */
  dataDir: DataDir | undefined;
  /** The setting or the file that has the root keys. */
  rootKeyLocation: string;
  /**
   * Checks the root keys against the stored data keys, before anything is written.
   *
   * @throws StartupError if the root keys do not unwrap them, if the primary cannot wrap, or if the key or the MACs of rows
   *   were removed
   */
  unlock(): Promise<void>;
  /**
   * Reads the root keys again and uses them from now on.
   *
   * @throws StartupError if they cannot be used; then the present ones stay in use
   */
  reloadKeys(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the database and migrates it. Production refuses what `findConfigWarnings` and `findWeakEntries` find; development
 * logs warnings.
 *
 * @param options with `allowsWeakKeys`, only the primary root key must be strong, so that others can be rotated away; with
 *   `limitsMemory`, V8's flags are set for the whole process if it uses the embedded database
 * @throws StartupError with one line that has the reason
 */
export async function openStores(
  config: Config,
  log: Logger,
  { allowsWeakKeys = false, limitsMemory = false }: { allowsWeakKeys?: boolean; limitsMemory?: boolean } = {},
): Promise<Stores> {
  const warnings: string[] = [];
  const mind = (risks: readonly string[]): void => {
    if (config.production && risks.length > 0) throw new StartupError(risks.join('; '));
    warnings.push(...risks);
  };
  /** Logs warnings after everything else succeeded: a failed start prints only its reason. */
  const warn = () => {
    for (const warning of warnings.splice(0)) log.warn(warning);
  };
  mind(findConfigWarnings(config));
  const dataDir = config.production ? undefined : new DataDir(config.dataDir);
  let lock = config.databaseUrl ? undefined : dataDir?.lock();
  // Node 22 has no DisposableStack.
  using _ifStartFails = { [Symbol.dispose]: () => lock?.release() };
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
  if (limitsMemory && !config.databaseUrl) limitMemory();
  const database = await openDatabase(findDatabaseLocation(config), entities, log);
  const check = (keyring: Keyring, isNew: boolean) =>
    withLocation(source.location, async () => {
      await keyring.selfTest();
      const em = database.asSystem();
      await vault.dataKeys.checkRootKeys(em, {
        keyring: isNew ? keyring : undefined,
        isAuthentic: (dataKey) => vault.isAuthentic(em, dataKey),
      });
    });
  warn();
  const held = lock;
  lock = undefined;
  return {
    database,
    vault,
    dataDir,
    rootKeyLocation: source.location,
    unlock: async () => {
      await check(vault.dataKeys.keyring, false);
      await withLocation(source.location, () => prepareRowMacs({ database, vault }));
    },
    reloadKeys: async () => {
      mind(findConfigWarnings(config));
      const keyring = await parse(source.reload());
      await check(keyring, true);
      vault.dataKeys.keyring = keyring;
      warn();
    },
    close: async () => {
      await database.close();
      held?.release();
    },
  };
}

/** Returns where the database is: PostgreSQL, or the embedded database in `dataDir`. */
export function findDatabaseLocation(config: Config): DatabaseLocation {
  if (!config.databaseUrl) return { kind: 'embedded', folder: join(config.dataDir, 'database') };
  return {
    kind: 'postgresql',
    url: config.databaseUrl,
    directUrl: config.databaseDirectUrl,
    schema: config.databaseSchema,
    poolSize: config.databasePoolSize,
    statementTimeoutMs: config.databaseStatementTimeoutMs,
  };
}

/** Runs a task with the root keys, and adds their location to its error. */
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
