import { createSecretKey, type KeyObject, randomBytes, randomUUID } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { LRUCache } from 'lru-cache';
import { currentTime } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import { DataKey, type DataKeyPurpose, type SystemKeyPurpose } from './data-key.entity.ts';
import { DataKeyError, type DataKeyReference } from './data-key-error.ts';
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
  /**
   * Whether the MAC of a row matches; undefined if it cannot be checked. A row that was changed is no evidence of a wrong root key.
   */
  isAuthentic?: (dataKey: DataKey) => Promise<boolean | undefined>;
}

/** How many data keys of a root key are tried before the root key counts as wrong. */
const maxTried = 20;

/**
 * Finds some data keys of each root key. `distinct` reads every data key, because PostgreSQL has no index skip scan; this
 * recursive query emulates one on the index `data_key_root_key`.
 */
const firstOfEachRootKey = (count: number) => `with recursive sample as (
    (select * from data_key where root_key_id > '' order by root_key_id, id limit 1)
    union all
    select next.* from sample cross join lateral (
      select * from data_key where root_key_id > sample.root_key_id order by root_key_id, id limit 1
    ) next
  )
  ${
    count === 1
      ? 'select * from sample'
      : `select tried.* from sample cross join lateral (
      select * from data_key where root_key_id = sample.root_key_id order by id limit ${count}
    ) tried`
  }`;

/** Generates, wraps and unwraps data keys under the root keys, and caches the unwrapped ones. */
export class DataKeys {
  readonly #log: Logger;
  /** Unwrapped data keys by organisation and id. Holds promises, so that concurrent callers share one call to a KMS. */
  readonly #unwrapped = new LRUCache<string, Promise<KeyObject>>({ max: maxKeys });
  /** The ids of the damaged data keys that were logged. */
  readonly #reported = new Set<string>();
  /** The root keys in force. Replacing them keeps the cache: an unwrapped data key does not depend on its root key. */
  keyring: Keyring;

  constructor(keyring: Keyring, log: Logger) {
    this.keyring = keyring;
    this.#log = log;
  }

  /** The number of data keys that were found damaged since the start. */
  get damagedKeys(): number {
    return this.#reported.size;
  }

  /**
   * Generates and wraps a data key. The caller stores it.
   *
   * @throws KmsUnavailableError
   */
  async generate(orgId: string, purpose: DataKeyPurpose | SystemKeyPurpose) {
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
   * per root key, independent of the number of organisations. If that data key does not open, others of its root key, or its
   * MAC, show whether the root key is wrong, or only the row is damaged: then its organisation is logged, and the others go on.
   *
   * @throws InvalidKeyringError with one sentence that names the root key that is missing or wrong
   * @throws KmsUnavailableError
   */
  async checkRootKeys(em: EntityManager, options: CheckRootKeysOptions = {}): Promise<void> {
    const {
      keyring,
      query = (sql: string): Promise<object[]> => em.execute(sql),
      isAuthentic = async () => undefined,
    } = options;
    const read = async (count: number) =>
      (await query(firstOfEachRootKey(count))).map((row) => em.map(DataKey, row));
    const checkedKeyring = keyring ?? this.keyring;
    const opens = (dataKey: DataKey) =>
      (keyring ? keyring.unwrap(dataKey) : this.open(dataKey)).then(
        () => true,
        (error: unknown) => {
          if (error instanceof KmsUnavailableError) throw error;
          return false;
        },
      );
    // A missing root key is reported rather than a wrong one, whose data keys may be damaged.
    const samples = (await read(1)).toSorted(
      (one, other) => Number(checkedKeyring.has(one.rootKeyId)) - Number(checkedKeyring.has(other.rootKeyId)),
    );
    for (const sample of samples) {
      if (await opens(sample)) continue;
      const { id, rootKeyId } = sample;
      const damaged = [sample];
      let isRootKeyRight = false;
      const others = (await read(maxTried)).filter((each) => each.rootKeyId === rootKeyId && each.id !== id);
      for (const other of others) {
        isRootKeyRight = await opens(other);
        if (isRootKeyRight) break;
        damaged.push(other);
      }
      const authentic = await Promise.all(damaged.map((dataKey) => isAuthentic(dataKey)));
      if (!isRootKeyRight && authentic.some((each) => each !== false)) {
        throw new InvalidKeyringError(
          checkedKeyring.has(rootKeyId)
            ? `"${rootKeyId}" is not the key that wrapped the stored data keys`
            : `there are stored data keys that are wrapped by "${rootKeyId}", which is not among them`,
        );
      }
      for (const dataKey of damaged) this.reportDamage(dataKey, 'It does not open.');
    }
  }

  /**
   * Logs a data key that cannot be used, once, because checks and requests are repeated.
   *
   * @param reason one sentence without a key
   * @returns the error for a request that needs it
   */
  reportDamage(dataKey: DataKeyReference, reason: string): DataKeyError {
    const { id, orgId, purpose } = dataKey;
    const name = id ?? `${orgId} ${purpose}`;
    if (!this.#reported.has(name)) {
      this.#reported.add(name);
      const remedy =
        'Restore the row of data_key from a backup. "app-connections doctor" checks all of them.';
      this.#log.error({ orgId, dataKeyId: id, purpose, reason, remedy }, 'a data key is damaged');
    }
    return new DataKeyError(reason, { ...(id && { id }), orgId, purpose });
  }

  /**
   * Finds and unwraps a data key. Returns undefined when it is destroyed.
   *
   * @throws DataKeyError, KmsUnavailableError
   */
  async find(em: EntityManager, keyRef: Pick<DataKey, 'id' | 'orgId'>): Promise<KeyObject | undefined> {
    const cached = this.#unwrapped.get(cacheKey(keyRef));
    if (cached) return cached;
    const dataKey = await em.findOne(DataKey, keyRef);
    if (!dataKey)
      throw this.reportDamage({ ...keyRef, purpose: 'SEAL' }, 'The organisation has no such data key.');
    return dataKey.rootKeyId ? this.unwrap(dataKey) : undefined;
  }

  /**
   * Unwraps a data key for its use, from the cache if possible. One that does not open is logged once.
   *
   * @throws DataKeyError, KmsUnavailableError
   */
  async unwrap(dataKey: DataKey): Promise<KeyObject> {
    try {
      return await this.open(dataKey);
    } catch (error) {
      throw error instanceof DecryptionError ? this.reportDamage(dataKey, error.message) : error;
    }
  }

  /**
   * As `unwrap`, for checks, which report damage themselves.
   *
   * @throws DecryptionError, KmsUnavailableError
   */
  open(dataKey: DataKey): Promise<KeyObject> {
    const name = cacheKey(dataKey);
    const cached = this.#unwrapped.get(name);
    if (cached) return cached;
    const opening = this.#withKmsFailureLog(async () => createSecretKey(await this.keyring.unwrap(dataKey)));
    this.#unwrapped.set(name, opening);
    opening.catch(() => this.#unwrapped.get(name) === opening && this.#unwrapped.delete(name));
    return opening;
  }

  /** Removes the unwrapped data keys of an organisation from memory. The next use reads them from the database. */
  forget(orgId: string): void {
    for (const name of this.#unwrapped.keys())
      if (name.startsWith(cacheKey({ orgId, id: '' }))) this.#unwrapped.delete(name);
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
