import { type Logger, safeErrorFields } from '../common/log.ts';
import type { Database } from '../database/database.ts';
import { isLockTimeout } from '../database/outage.ts';
import { probeTimeoutMs } from '../database/readiness-probe.ts';
import { InvalidKeyringError } from '../encryption/keyring.ts';
import { KmsUnavailableError } from '../encryption/root-key.ts';
import type { Vault } from '../encryption/vault.ts';

/** For how long a result is cached, in milliseconds. */
const cacheMs = 1_000;

/** The dependencies of the readiness check. */
export interface ReadinessDeps {
  database: Pick<Database, 'asSystem' | 'probe'>;
  vault: Vault;
  log: Logger;
}

/**
 * Checks whether the database responds and the root keys can decrypt the stored data keys. Runs at most one check at a time
 * and one a second, because unauthenticated clients can request it.
 */
export class Readiness {
  readonly #deps: ReadinessDeps;
  #cached: { isReady: boolean; until: number } | undefined;
  #running: Promise<boolean> | undefined;
  /** The check that runs, also after it has exceeded the timeout. No other check starts before it ends. */
  #unfinished: Promise<boolean> | undefined;
  #hasDatabaseResponded = false;
  /** The last result of checking the root keys. True at first, because the server checks them before it listens. */
  #areRootKeysValid = true;
  #isLeaving = false;

  constructor(deps: ReadinessDeps) {
    this.#deps = deps;
  }

  /** Answers "not ready" from now on, so that load balancers send no more requests to a server that is about to stop. */
  leave(): void {
    this.#isLeaving = true;
  }

  /** Returns the result of the last second, or of the check that runs, within `probeTimeoutMs`. */
  async isReady(): Promise<boolean> {
    if (this.#isLeaving) return false;
    if (this.#cached && this.#cached.until > performance.now()) return this.#cached.isReady;
    this.#running ??= this.#checkWithTimeout().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #checkWithTimeout(): Promise<boolean> {
    this.#unfinished ??= this.#check().finally(() => {
      this.#unfinished = undefined;
    });
    const timeout = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => {
      // If the database has responded, the KMS is slow, and data keys in memory continue to work.
      timeout.resolve(this.#hasDatabaseResponded && this.#areRootKeysValid);
    }, probeTimeoutMs);
    const isReady = await Promise.race([this.#unfinished, timeout.promise]);
    clearTimeout(timer);
    this.#cached = { isReady, until: performance.now() + cacheMs };
    return isReady;
  }

  async #check(): Promise<boolean> {
    const { database, vault, log } = this.#deps;
    this.#hasDatabaseResponded = false;
    try {
      const em = database.asSystem();
      await vault.dataKeys.checkRootKeys(em, {
        isAuthentic: (dataKey) => vault.isAuthentic(em, dataKey),
        query: async (sql) => {
          const rows = await database.probe(sql);
          this.#hasDatabaseResponded = true;
          return rows;
        },
      });
      this.#areRootKeysValid = true;
      return true;
    } catch (error) {
      // Data keys in memory continue to work. Reporting an outage would take every server out of service.
      if (error instanceof KmsUnavailableError) return true;
      // The table of data keys is locked: the database responds, and the keys are unchanged.
      if (isLockTimeout(error)) return this.#areRootKeysValid;
      if (error instanceof InvalidKeyringError) this.#areRootKeysValid = false;
      log.warn({ error: safeErrorFields(error) }, 'not ready');
      return false;
    }
  }
}
