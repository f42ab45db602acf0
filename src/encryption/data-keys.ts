import { createSecretKey, type KeyObject, randomBytes, randomUUID } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { LRUCache } from 'lru-cache';
import { currentTime } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import { DataKey, type DataKeyPurpose, type integrityPurpose } from './data-key.entity.ts';
import { DecryptionError } from './jwe.ts';
import { InvalidKeyringError, type Keyring, type Wrapped } from './keyring.ts';
import { KmsUnavailableError } from './root-key.ts';

const maxKeys = 1_000;

/** Options of `DataKeys.checkRootKeys`. */
export interface CheckRootKeysOptions {
  /** Root keys to check before they come into force. The keyring in force if absent. */
  keyring?: Keyring | undefined;
  /** Runs the SQL statement. `em` does if absent. */
  query?: (sql: string) => Promise<object[]>;
}

/**
 * Finds one data key per root key. `distinct` reads every data key, because PostgreSQL has no index skip scan; this
 * recursive query emulates one on the index `data_key_root_key`.
 */
const firstOfEachRootKey = `with recursive sample as (
    (select * from data_key where root_key_id > '' order by root_key_id, id limit 1)
    union all
    select next.* from sample cross join lateral (
      select * from data_key where root_key_id > sample.root_key_id order by root_key_id, id limit 1
    ) next
  )
  select * from sample`;

/** Generates, wraps and unwraps data keys under the root keys, and caches the unwrapped ones. */
export class DataKeys {
  readonly #log: Logger;
  /** Unwrapped data keys by organisation and id. Holds promises, so that concurrent callers share one call to a KMS. */
  readonly #unwrapped = new LRUCache<string, Promise<KeyObject>>({ max: maxKeys });
  /** The root keys in force. Replacing them keeps the cache: an unwrapped data key does not depend on its root key. */
  keyring: Keyring;

  constructor(keyring: Keyring, log: Logger) {
    this.keyring = keyring;
    this.#log = log;
  }

  /**
   * Generates and wraps a data key. The caller stores it.
   *
   * @throws KmsUnavailableError
   */
  async generate(orgId: string, purpose: DataKeyPurpose | typeof integrityPurpose) {
    const binding = { id: randomUUID(), orgId, purpose };
    const key = await this.#withKmsFailureLog(() => this.keyring.wrap(randomBytes(32), binding));
    return { ...binding, ...key, madeUnder: key.rootKeyId, createdAt: currentTime(), retiredAt: null };
  }

  /**
   * Wraps the same data key under the primary root key.
   *
   * @throws DecryptionError, KmsUnavailableError
   */
  async rewrap(dataKey: DataKey): Promise<Wrapped> {
    const key = await this.unwrap(dataKey);
    return this.#withKmsFailureLog(() => this.keyring.wrap(key.export(), dataKey));
  }

  /**
   * Unwraps one data key of each root key in use. A cached data key costs no call to a KMS. The database reads one row
   * per root key, independent of the number of organisations.
   *
   * @throws InvalidKeyringError with one sentence that names the root key that is missing or wrong
   * @throws KmsUnavailableError
   */
  async checkRootKeys(em: EntityManager, options: CheckRootKeysOptions = {}): Promise<void> {
    const { keyring, query = (sql: string): Promise<object[]> => em.execute(sql) } = options;
    const rows = await query(firstOfEachRootKey);
    const samples = rows.map((row) => em.map(DataKey, row));
    const missing = samples.find(({ rootKeyId }) => !(keyring ?? this.keyring).has(rootKeyId));
    if (missing) {
      throw new InvalidKeyringError(
        `there are stored data keys that are wrapped by "${missing.rootKeyId}", which is not among them`,
      );
    }
    for (const dataKey of samples) {
      await (keyring ? keyring.unwrap(dataKey) : this.unwrap(dataKey)).catch((error: unknown) => {
        if (error instanceof KmsUnavailableError) throw error;
        throw new InvalidKeyringError(
          `"${dataKey.rootKeyId}" is not the key that wrapped the stored data keys`,
        );
      });
    }
  }

  /**
   * Finds and unwraps a data key. Returns undefined when it is destroyed.
   *
   * @throws DecryptionError, KmsUnavailableError
   */
  async find(em: EntityManager, keyRef: Pick<DataKey, 'id' | 'orgId'>): Promise<KeyObject | undefined> {
    const cached = this.#unwrapped.get(cacheKey(keyRef));
    if (cached) return cached;
    const dataKey = await em.findOne(DataKey, keyRef);
    if (!dataKey) throw new DecryptionError('The organisation has no such data key.');
    return dataKey.rootKeyId ? this.unwrap(dataKey) : undefined;
  }

  /**
   * Unwraps a data key, from the cache if possible.
   *
   * @throws DecryptionError, KmsUnavailableError
   */
  unwrap(dataKey: DataKey): Promise<KeyObject> {
    const name = cacheKey(dataKey);
    const cached = this.#unwrapped.get(name);
    if (cached) return cached;
    const opening = this.#withKmsFailureLog(async () => createSecretKey(await this.keyring.unwrap(dataKey)));
    this.#unwrapped.set(name, opening);
    opening.catch(() => this.#unwrapped.get(name) === opening && this.#unwrapped.delete(name));
    return opening;
  }

  /** Runs a call to a root key, and logs the reason when its KMS fails. */
  async #withKmsFailureLog<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof KmsUnavailableError) this.#log.error({ reason: error.reason }, 'no key service');
      throw error;
    }
  }
}

function cacheKey({ orgId, id }: Pick<DataKey, 'id' | 'orgId'>): string {
  return `${orgId} ${id}`;
}
