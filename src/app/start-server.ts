import { setTimeout } from 'node:timers/promises';
import { createOrganisation } from '../administration/organisations.ts';
import { findApiKey, generateApiKey, isActive } from '../auth/api-keys.ts';
import { openControlSocket } from '../bootstrap/control-socket.ts';
import type { DataDir } from '../bootstrap/data-dir.ts';
import { createCodeStore } from '../bootstrap/sign-in-link.ts';
import { formatStartupBanner } from '../bootstrap/startup-banner.ts';
import { openStores, type Stores } from '../bootstrap/stores.ts';
import { StartupError } from '../common/errors.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';
import type { Secret } from '../common/secret.ts';
import type { Config } from '../config/config.ts';
import { apiKeyPattern } from '../config/env-schema.ts';
import { withStartupLock } from '../database/startup-lock.ts';
import { isBuilt, notBuilt } from '../http/dashboard-files.ts';
import { firstOrganisation, hadOrganisation } from '../identity/organisations.ts';
import { createServer } from './server.ts';

const apiKeyFile = 'api-key';

/** How often the server looks for connections that are due for a check, in milliseconds. */
const checkIntervalMs = 30_000;
/** How often the server looks for replaced credentials to revoke, in milliseconds. */
const revocationIntervalMs = 5_000;
/** How often the server looks for keys of connections to rotate, in milliseconds. */
const keyRotationIntervalMs = 60_000;
/** How often the server looks for connections whose credentials end, in milliseconds. */
const expiryIntervalMs = 60_000;
/** How often the server looks for audit events to stream, in milliseconds. */
const streamIntervalMs = 1_000;
/** How often the server looks for messages of webhooks that are due, in milliseconds. Changes make it look at once. */
const webhookIntervalMs = 1_000;

/** A server with its stores. */
export interface StartedServer {
  url: string;
  /** A URL that signs a browser in once, in development. */
  signInLink: string | undefined;
  /** Prints where everything is, in development, or logs that the server is ready, in production. */
  announce(print: (text: string) => void): void;
  /** Reloads the root keys, or keeps the present ones if that fails, and logs the result. */
  reloadKeys(): Promise<void>;
  /** Says "not ready" for `shutdownDelayMs`, and ends after the requests in flight. */
  stop(): Promise<void>;
}

/**
 * Opens the stores, creates the first organisation in a database that never had one, and starts to listen.
 *
 * @throws StartupError with one line that has the reason
 */
export async function startServer(config: Config, log: Logger): Promise<StartedServer> {
  const stores = await openStores(config, log);
  const { database, vault, dataDir, unlock, close } = stores;
  try {
    await unlock();
    const administrator = await bootstrap(config, stores);
    const server = await createServer(config, {
      database,
      vault,
      log,
      signInKey: administrator.key,
      checkIntervalMs,
      revocationIntervalMs,
      keyRotationIntervalMs,
      expiryIntervalMs,
      webhookIntervalMs,
      streamIntervalMs,
      ...(dataDir && { signInCodes: { store: createCodeStore(dataDir) } }),
    });
    const { url } = server;
    // Commands reach PostgreSQL without a server.
    const control =
      dataDir && !config.databaseUrl ? await openControls(dataDir.path, stores, log) : undefined;
    const signInLink = config.production ? undefined : server.createSignInLink?.();
    let reloading = Promise.resolve();
    return {
      url,
      signInLink,
      announce: (print) => {
        if (config.production) logReady(config, log, url, administrator);
        else {
          const known = { ...administrator, file: dataDir?.pathTo(apiKeyFile), signInLink };
          print(formatStartupBanner(config, url, known));
        }
      },
      reloadKeys: () => {
        reloading = reloading.then(() => reloadKeys(stores, log));
        return reloading;
      },
      stop: async () => {
        server.leave();
        log.info({ delayMs: config.shutdownDelayMs }, 'stopping');
        await setTimeout(config.shutdownDelayMs);
        await control?.close();
        await server.close();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Lets commands export the embedded database. */
function openControls(dataDir: string, { database, vault }: Stores, log: Logger) {
  const answer = async (request: unknown) => {
    // It is loaded late, because few servers need it.
    const { answerExportRequest } = await import('../moving/export-request.ts');
    return answerExportRequest({ database, vault }, request);
  };
  return openControlSocket(dataDir, answer, log);
}

function logReady(config: Config, log: Logger, url: string, administrator: Administrator): void {
  log.info({ url, pid: process.pid }, 'ready');
  if (!isBuilt()) log.warn(`the dashboard is ${notBuilt}`);
  if (administrator.isNeeded) {
    log.warn('the database has no organisation; set BOOTSTRAP_API_KEY to create the first');
  } else if (config.bootstrapApiKey && !administrator.key) {
    log.warn(
      'BOOTSTRAP_API_KEY is ignored: it is not a valid API key, and creates only the first organisation',
    );
  }
}

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

/** Creates the first organisation, project and administrator's key in a database that never had one. */
async function bootstrap(config: Config, { database, vault, dataDir }: Stores): Promise<Administrator> {
  return withStartupLock(database.asSystem(), async (em) => {
    const known = config.bootstrapApiKey ?? savedKey(dataDir);
    if (await hadOrganisation(em)) {
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
