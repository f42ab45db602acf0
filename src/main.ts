import { createOrganisation } from './administration/organisations.ts';
import { createServer } from './app/server.ts';
import { findApiKey, generateApiKey, isActive } from './auth/api-keys.ts';
import type { DataDir } from './bootstrap/data-dir.ts';
import { describeStartupError } from './bootstrap/describe-error.ts';
import { openBrowser } from './bootstrap/open-browser.ts';
import { createCodeStore } from './bootstrap/sign-in-link.ts';
import { onReloadSignal, onStopSignal } from './bootstrap/signals.ts';
import { formatStartupBanner } from './bootstrap/startup-banner.ts';
import { openStores, type Stores } from './bootstrap/stores.ts';
import { StartupError } from './common/errors.ts';
import { createLog, type Logger, safeErrorFields } from './common/log.ts';
import type { Secret } from './common/secret.ts';
import type { Config } from './config/config.ts';
import { apiKeyPattern } from './config/env-schema.ts';
import { readConfig } from './config/read-config.ts';
import type { Database } from './database/database.ts';
import { withStartupLock } from './database/startup-lock.ts';
import type { Vault } from './encryption/vault.ts';
import { isBuilt, notBuilt } from './http/dashboard-files.ts';
import { firstOrganisation, hasOrganisation } from './identity/organisations.ts';

const apiKeyFile = 'api-key';

async function start(): Promise<void> {
  const config = readConfig();
  const isToOpen = readArguments(config);
  const log = createLog(config.logLevel);
  const stores = await openStores(config, log);
  const { database, vault, dataDir, unlock, close } = stores;
  await unlock();
  const administrator = await bootstrap(config, database, vault, dataDir);

  const server = await createServer(config, {
    database,
    vault,
    log,
    signInKey: administrator.key,
    ...(dataDir && { signInCodes: { store: createCodeStore(dataDir) } }),
  });
  // Before the server reports that it is ready: from then on, a signal must stop it gracefully.
  const stop = async (): Promise<void> => {
    await server.close();
    await close();
  };
  onStopSignal(() => {
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ error: safeErrorFields(error) }, 'could not shut down cleanly');
        process.exit(1);
      },
    );
  });
  let reloading = Promise.resolve();
  onReloadSignal(() => {
    reloading = reloading.then(() => reloadKeys(stores, log));
  }, config.npmScript);
  process.off('uncaughtException', endUnstarted);

  if (!config.production) {
    const signInLink = server.createSignInLink?.();
    const known = { ...administrator, file: dataDir?.pathTo(apiKeyFile) };
    console.log(formatStartupBanner(config, server.url, { ...known, signInLink }));
    if (isToOpen) openBrowser(signInLink ?? server.url);
    return;
  }
  log.info({ url: server.url, pid: process.pid }, 'ready');
  if (!isBuilt()) log.warn(`the dashboard is ${notBuilt}`);
  if (administrator.isNeeded) {
    log.warn('the database has no organisation; set BOOTSTRAP_API_KEY to create the first');
  } else if (config.bootstrapApiKey && !administrator.key) {
    log.warn(
      'BOOTSTRAP_API_KEY is ignored: it is not a valid API key, and creates only the first organisation',
    );
  }
}

/**
 * Whether the arguments contain `--open`.
 *
 * @throws StartupError for any other argument
 */
function readArguments({ production }: Config): boolean {
  const given = process.argv.slice(2);
  if (given.some((argument) => argument !== '--open'))
    throw new StartupError('npm start accepts only --open');
  if (production && given.length > 0)
    throw new StartupError('--open is not allowed when NODE_ENV=production');
  return given.length > 0;
}

/** Reloads the root keys, or keeps the present ones if that fails, and logs the result. */
async function reloadKeys(stores: Stores, log: Logger): Promise<void> {
  const inForce = () => ({ rootKeyIds: stores.vault.dataKeys.keyring.ids });
  try {
    await stores.reloadKeys();
    log.info(inForce(), 'reloaded the encryption keys; the first one is the primary key');
  } catch (error) {
    const why = error instanceof StartupError ? { reason: error.message } : { error: safeErrorFields(error) };
    log.error(
      { ...why, ...inForce() },
      'could not reload the encryption keys; the previous keys stay in use',
    );
  }
}

/** The first administrator's key, if it is known and valid; `isNew` if it was just created. */
interface Administrator {
  key?: Secret;
  isNew?: boolean;
  /** Whether there is no organisation, and no key to create the first one with. */
  isNeeded?: boolean;
}

/** Creates the first organisation, project and administrator's key in a database without any. */
async function bootstrap(
  config: Config,
  database: Database,
  vault: Vault,
  dataDir: DataDir | undefined,
): Promise<Administrator> {
  return withStartupLock(database.asSystem(), async (em) => {
    const known = config.bootstrapApiKey ?? savedKey(dataDir);
    if (await hasOrganisation(em)) {
      const stored = known && (await findApiKey(em, vault, known));
      return stored && isActive(stored) ? { key: known } : {};
    }
    const key = known ?? dataDir?.readOrCreate(apiKeyFile, () => generateApiKey().reveal());
    if (!key) return { isNeeded: true };
    await createOrganisation(em, { database, vault }, firstOrganisation(key));
    return { key, isNew: true };
  });
}

/** Reads the generated key, if its file contains a valid one. */
function savedKey(dataDir: DataDir | undefined): Secret | undefined {
  const key = dataDir?.read(apiKeyFile);
  if (key && !apiKeyPattern.test(key.reveal())) {
    throw new StartupError(
      `${dataDir?.pathTo(apiKeyFile)} does not hold an API key; put the key back, or remove it`,
    );
  }
  return key;
}

/** Writes synchronously to the descriptor, because the process ends before a stream is flushed. */
function endUnstarted(error: unknown): never {
  console.error(`Cannot start: ${describeStartupError(error)}`);
  process.exit(1);
}

// Handles unhandled rejections too.
process.on('uncaughtException', endUnstarted);
await start().catch(endUnstarted);
