import { createHmac, createSecretKey, type KeyObject, randomBytes, randomUUID } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { LRUCache } from 'lru-cache';
import { canonicalJson } from '../common/canonical-json.ts';
import type { Logger } from '../common/log.ts';
import { Secret } from '../common/secret.ts';
import type { SqlStatement } from '../database/database.ts';
import { inSession, systemSession } from '../database/driver/session.ts';
import {
  DataKey,
  type DataKeyPurpose,
  dataKeyPurposes,
  integrityOwner,
  integrityPurpose,
} from './data-key.entity.ts';
import { DecryptionError, openJwe, sealJwe } from './jwe.ts';
import { InvalidKeyringError, type Keyring, type Wrapped } from './keyring.ts';
import { KmsUnavailableError } from './root-key.ts';
import { RowMacs } from './row-macs.ts';

export { DecryptionError } from './jwe.ts';

/** The purposes of data keys that compute MACs. */
export type MacPurpose = Exclude<DataKeyPurpose, 'SEAL'>;

/** The additional authenticated data of encrypted credentials. They decrypt under the same context only. */
export interface EncryptionContext {
  orgId: string;
  connectionId: string;
  app: string;
  method: string;
  /** The host that the credentials are for; empty for an app without one. */
  host: string;
}

/** Credentials as they are stored. */
export interface Sealed {
  /** Compact JWE (`dir`, `A256GCM`). */
  text: string;
  dataKeyId: string;
}

/** An unwrapped data key. */
interface OpenKey {
  id: string;
  key: KeyObject;
}

const maxKeys = 1_000;

/** Options of `Vault.checkKeys`. */
export interface CheckKeysOptions {
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

/** Encrypts and decrypts credentials under the data keys of organisations, and computes keyed MACs. */
export class Vault {
  readonly #log: Logger;
  /** Unwrapped data keys by organisation and id. Holds promises, so that concurrent callers share one call to a KMS. */
  readonly #opened = new LRUCache<string, Promise<KeyObject>>({ max: maxKeys });
  /** Active data keys by organisation and purpose. Only `SEAL` keys are ever retired. */
  readonly #active = new LRUCache<string, OpenKey>({ max: maxKeys });
  /** Data keys that this process created. Their transaction may roll back, so they are not cached as active. */
  readonly #made = new WeakSet<DataKey>();
  #rowMacs: RowMacs | undefined;
  /** The root keys in force. Replacing them keeps the cache: an unwrapped data key does not depend on its root key. */
  keyring: Keyring;

  constructor(keyring: Keyring, log: Logger) {
    this.keyring = keyring;
    this.#log = log;
  }

  /**
   * Creates the first data keys of an organisation. The caller flushes.
   *
   * @throws KmsUnavailableError
   */
  async addDataKeys(em: EntityManager, orgId: string): Promise<void> {
    for (const purpose of dataKeyPurposes) {
      this.#made.add(em.create(DataKey, await this.makeDataKey(orgId, purpose)));
    }
  }

  /**
   * Generates and wraps a data key. The caller stores it.
   *
   * @throws KmsUnavailableError
   */
  async makeDataKey(orgId: string, purpose: DataKeyPurpose | typeof integrityPurpose) {
    const binding = { id: randomUUID(), orgId, purpose };
    const key = await this.#withKmsFailureLog(() => this.keyring.wrap(randomBytes(32), binding));
    return { ...binding, ...key, madeUnder: key.rootKeyId, createdAt: new Date(), retiredAt: null };
  }

  /**
   * Unwraps the integrity key once, so that authentication never waits for a KMS.
   *
   * @param em sees the rows of all organisations
   * @returns undefined when the database has no integrity key
   * @throws DecryptionError, KmsUnavailableError
   */
  async findRowMacs(em: EntityManager): Promise<RowMacs | undefined> {
    if (this.#rowMacs) return this.#rowMacs;
    const where = { orgId: integrityOwner, purpose: integrityPurpose, retiredAt: null } as const;
    const stored = await em.findOne(DataKey, where);
    if (stored) this.#rowMacs = new RowMacs(await this.#open(stored), this.#log);
    return this.#rowMacs;
  }

  /**
   * Creates the integrity key. The caller flushes.
   *
   * @throws KmsUnavailableError
   */
  async addIntegrityKey(em: EntityManager): Promise<RowMacs> {
    const dataKey = em.create(DataKey, await this.makeDataKey(integrityOwner, integrityPurpose));
    this.#rowMacs = new RowMacs(await this.#open(dataKey), this.#log);
    return this.#rowMacs;
  }

  /**
   * Returns the MACs of rows, from the cache if the integrity key is unwrapped.
   *
   * @throws DecryptionError when the database has no integrity key, or it does not open
   * @throws KmsUnavailableError
   */
  async rowMacs(em: EntityManager): Promise<RowMacs> {
    // Row-level security hides the integrity key from tenants, and the caller may be in a tenant's session.
    const found = this.#rowMacs ?? (await inSession(systemSession, () => this.findRowMacs(em.fork())));
    if (!found) throw new DecryptionError('The database has no integrity key.');
    return found;
  }

  /**
   * Wraps the same data key under the primary root key.
   *
   * @throws DecryptionError, KmsUnavailableError
   */
  async rewrap(dataKey: DataKey): Promise<Wrapped> {
    const key = await this.#open(dataKey);
    return this.#withKmsFailureLog(() => this.keyring.wrap(key.export(), dataKey));
  }

  /**
   * Encrypts under the organisation's active data key, which may come from the cache. Another server may retire that key
   * before the caller stores the result: the caller checks with `retiredAmong` after storing, or calls
   * `forgetSealKey` first.
   *
   * @throws DecryptionError, KmsUnavailableError
   */
  async seal(
    em: EntityManager,
    binding: EncryptionContext,
    secrets: Readonly<Record<string, Secret>>,
  ): Promise<Sealed> {
    const { id, key } = await this.#activeKey(em, binding.orgId, 'SEAL');
    const content = new TextEncoder().encode(canonicalJson(secrets));
    return { text: sealJwe(content, key, id, header(binding)), dataKeyId: id };
  }

  /** Removes the organisation's `SEAL` key from the cache, so that the next `seal` reads it from the database. */
  forgetSealKey(orgId: string): void {
    this.#active.delete(activeCacheKey(orgId, 'SEAL'));
  }

  /** Builds the statement that finds the retired ones among data keys. */
  retiredAmong(dataKeyIds: readonly string[]): SqlStatement {
    const sql = 'select id from data_key where id in (?) and retired_at is not null';
    return { sql, params: [[...new Set(dataKeyIds)]] };
  }

  /**
   * Decrypts credentials.
   *
   * @param readAgain reads the ciphertext again: a rotation may have re-encrypted it and destroyed its data key since it
   *   was read. It returns undefined when the credentials were replaced.
   * @throws DecryptionError, whose message names the mismatch and contains nothing of the content; it is logged as well
   * @throws KmsUnavailableError
   */
  async open(
    em: EntityManager,
    binding: EncryptionContext,
    sealed: Sealed,
    readAgain: () => Promise<Sealed | undefined> = async () => undefined,
  ): Promise<Record<string, Secret>> {
    const { orgId } = binding;
    const getKey = ({ dataKeyId: id }: Sealed) => this.#getKey(em, { id, orgId });
    try {
      const key = await getKey(sealed);
      if (key) return await unseal(sealed.text, key, binding);
      const resealed = await readAgain();
      const newKey = resealed && (await getKey(resealed));
      if (newKey) return await unseal(resealed.text, newKey, binding);
      throw new DecryptionError('The data key is destroyed.');
    } catch (error) {
      if (error instanceof DecryptionError) {
        const { connectionId } = binding;
        this.#log.error({ orgId, connectionId, reason: error.message }, 'sealed credentials do not open');
      }
      throw error;
    }
  }

  /**
   * Computes an HMAC-SHA-256 over the canonical JSON of a value, as 64 hex digits. It differs between organisations and
   * purposes, and does not depend on the order of keys.
   */
  async mac(em: EntityManager, orgId: string, purpose: MacPurpose, value: object): Promise<string> {
    const { key } = await this.#activeKey(em, orgId, purpose);
    return createHmac('sha256', key).update(canonicalJson(value)).digest('hex');
  }

  /**
   * Unwraps one data key of each root key in use. A cached data key costs no call to a KMS. The database reads one row
   * per root key, independent of the number of organisations.
   *
   * @throws InvalidKeyringError with one sentence that names the root key that is missing or wrong
   * @throws KmsUnavailableError
   */
  async checkKeys(em: EntityManager, options: CheckKeysOptions = {}): Promise<void> {
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
      await (keyring ? keyring.unwrap(dataKey) : this.#open(dataKey)).catch((error: unknown) => {
        if (error instanceof KmsUnavailableError) throw error;
        throw new InvalidKeyringError(
          `"${dataKey.rootKeyId}" is not the key that wrapped the stored data keys`,
        );
      });
    }
  }

  async #activeKey(em: EntityManager, orgId: string, purpose: DataKeyPurpose): Promise<OpenKey> {
    const name = activeCacheKey(orgId, purpose);
    const known = this.#active.get(name);
    if (known) return known;
    // The newest row decides: an editor of the database who clears `retired_at` must not reactivate an old key.
    const [dataKey] = await em.find(
      DataKey,
      { orgId, purpose },
      { orderBy: { createdAt: 'desc', id: 'desc' }, limit: 1 },
    );
    if (!dataKey || dataKey.retiredAt)
      throw new DecryptionError(`The organisation has no active ${purpose} key.`);
    const active = { id: dataKey.id, key: await this.#open(dataKey) };
    (await this.rowMacs(em)).verify(em, DataKey, dataKey);
    if (!this.#made.has(dataKey)) this.#active.set(name, active);
    return active;
  }

  /** Unwraps a data key. Returns undefined when it is destroyed. */
  async #getKey(em: EntityManager, keyRef: Pick<DataKey, 'id' | 'orgId'>): Promise<KeyObject | undefined> {
    const known = this.#opened.get(openedCacheKey(keyRef));
    if (known) return known;
    const dataKey = await em.findOne(DataKey, keyRef);
    if (!dataKey) throw new DecryptionError('The organisation has no such data key.');
    return dataKey.rootKeyId ? this.#open(dataKey) : undefined;
  }

  #open(dataKey: DataKey): Promise<KeyObject> {
    const name = openedCacheKey(dataKey);
    const known = this.#opened.get(name);
    if (known) return known;
    const opening = this.#withKmsFailureLog(async () => createSecretKey(await this.keyring.unwrap(dataKey)));
    this.#opened.set(name, opening);
    opening.catch(() => this.#opened.get(name) === opening && this.#opened.delete(name));
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

function activeCacheKey(orgId: string, purpose: DataKeyPurpose): string {
  return `${orgId} ${purpose}`;
}

function openedCacheKey({ orgId, id }: Pick<DataKey, 'id' | 'orgId'>): string {
  return `${orgId} ${id}`;
}

async function unseal(
  text: string,
  key: KeyObject,
  binding: EncryptionContext,
): Promise<Record<string, Secret>> {
  const plaintext = await openJwe(text, {
    what: 'The sealed text',
    getKey: () => key,
    binding: header(binding),
  });
  const values: Record<string, string> = JSON.parse(new TextDecoder().decode(plaintext));
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, new Secret(value)]));
}

function header(binding: EncryptionContext): Record<string, string> {
  return {
    org: binding.orgId,
    cid: binding.connectionId,
    app: binding.app,
    method: binding.method,
    host: binding.host,
  };
}
