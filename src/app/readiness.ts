import { type Logger, safeErrorFields } from '../common/log.ts';
import type { Database } from '../database/database.ts';
import { isLockTimeout } from '../database/outage.ts';
import { probeTimeoutMs } from '../database/readiness-probe.ts';
import { InvalidKeyringError } from '../encryption/keyring.ts';
import { KmsUnavailableError } from '../encryption/root-key.ts';
import type { Vault } from '../encryption/vault.ts';

/** How long a result is answered with, in milliseconds. */
const cacheMs = 1_000;

/** What a readiness check needs. */
export interface ReadinessDependencies {
  database: Pick<Database, 'asSystem' | 'probe'>;
  vault: Vault;
  log: Logger;
}

/**
 * Checks whether this server can serve: its database answers, and its root keys open what is stored. At most one check
 * runs at a time and at most one a second, however often strangers ask.
 */
export class Readiness {
  readonly #dependencies: ReadinessDependencies;
  #cached: { isReady: boolean; until: number } | undefined;
  #running: Promise<boolean> | undefined;
  /** A check that takes longer than anybody waits for it; no other one starts before it ends. */
  #unfinished: Promise<boolean> | undefined;
  #databaseAnswers = false;
  /** What the last check of the root keys found; the server has checked them before it listens. */
  #keysFit = true;

  constructor(dependencies: ReadinessDependencies) {
    this.#dependencies = dependencies;
  }

  /** Answers from the result of the last second, or from the check that runs, within a second. */
  async isReady(): Promise<boolean> {
    if (this.#cached && this.#cached.until > performance.now()) return this.#cached.isReady;
    this.#running ??= this.#checkInTime().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #checkInTime(): Promise<boolean> {
    this.#unfinished ??= this.#check().finally(() => {
      this.#unfinished = undefined;
    });
    const timeout = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => {
      // What takes long after the database has answered is a key service, and what is open goes on working.
      timeout.resolve(this.#databaseAnswers && this.#keysFit);
    }, probeTimeoutMs);
    const isReady = await Promise.race([this.#unfinished, timeout.promise]);
    clearTimeout(timer);
    this.#cached = { isReady, until: performance.now() + cacheMs };
    return isReady;
  }

  async #check(): Promise<boolean> {
    const { database, vault, log } = this.#dependencies;
    this.#databaseAnswers = false;
    try {
      await vault.checkKeys(database.asSystem(), {
        query: async (sql) => {
          const rows = await database.probe(sql);
          this.#databaseAnswers = true;
          return rows;
        },
      });
      this.#keysFit = true;
      return true;
    } catch (error) {
      // What is open already goes on working, which it would not if every server were out of service.
      if (error instanceof KmsUnavailableError) return true;
      // The table of data keys is locked: the database answers, and a lock says nothing about the keys.
      if (isLockTimeout(error)) return this.#keysFit;
      if (error instanceof InvalidKeyringError) this.#keysFit = false;
      log.warn({ error: safeErrorFields(error) }, 'not ready');
      return false;
    }
  }
}
