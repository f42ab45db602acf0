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

/** The keys that make hashes. */
export type MacPurpose = Exclude<DataKeyPurpose, 'SEAL'>;

/** Where a sealed text belongs; it opens nowhere else. */
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

/** A data key that is open. */
interface OpenKey {
  id: string;
  key: KeyObject;
}

const maxKeys = 1_000;

/** How root keys are checked. */
export interface CheckKeysOptions {
  keyring?: Keyring | undefined;
  query?: (sql: string) => Promise<object[]>;
}

/**
 * The first data key of each root key. PostgreSQL has no index scan that skips, and `distinct` reads every data key;
 * this goes from one root key to the next in the index `data_key_root_key`.
 */
const firstOfEachRootKey = `with recursive sample as (
    (select * from data_key where root_key_id > '' order by root_key_id, id limit 1)
    union all
    select next.* from sample cross join lateral (
      select * from data_key where root_key_id > sample.root_key_id order by root_key_id, id limit 1
    ) next
  )
  select * from sample`;

/** Seals and opens credentials under the data keys of organisations, and fingerprints them. */
export class Vault {
  readonly #log: Logger;
  /**
   * Unwrapped data keys by organisation and id, also while they are being unwrapped: that may cost a call to a key
   * service.
   */
  readonly #opened = new LRUCache<string, Promise<KeyObject>>({ max: maxKeys });
  /** The data keys that seal and make hashes, by organisation and purpose. Only `SEAL` keys are ever retired. */
  readonly #active = new LRUCache<string, OpenKey>({ max: maxKeys });
  /** Data keys that were made here and may be rolled back. */
  readonly #made = new WeakSet<DataKey>();
  #rowMacs: RowMacs | undefined;
  /** The root keys in force. Under others, a data key is still what it was, so what was opened stays open. */
  keyring: Keyring;

  constructor(keyring: Keyring, log: Logger) {
    this.keyring = keyring;
    this.#log = log;
  }

  /**
   * Makes the first data keys of an organisation; the caller flushes.
   *
   * @throws KmsUnavailableError
   */
  async addDataKeys(em: EntityManager, orgId: string): Promise<void> {
    for (const purpose of dataKeyPurposes) {
      this.#made.add(em.create(DataKey, await this.makeDataKey(orgId, purpose)));
    }
  }

  /**
   * A new data key, to be stored.
   *
   * @throws KmsUnavailableError
   */
  async makeDataKey(orgId: string, purpose: DataKeyPurpose | typeof integrityPurpose) {
    const binding = { id: randomUUID(), orgId, purpose };
    const key = await this.#telling(() => this.keyring.wrap(randomBytes(32), binding));
    return { ...binding, ...key, madeUnder: key.rootKeyId, createdAt: new Date(), retiredAt: null };
  }

  /**
   * What authenticates rows, under a key that is opened once, so that signing in never waits for a key service.
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
   * Makes the integrity key; the caller flushes.
   *
   * @throws KmsUnavailableError
   */
  async addIntegrityKey(em: EntityManager): Promise<RowMacs> {
    const dataKey = em.create(DataKey, await this.makeDataKey(integrityOwner, integrityPurpose));
    this.#rowMacs = new RowMacs(await this.#open(dataKey), this.#log);
    return this.#rowMacs;
  }

  /**
   * What authenticates rows.
   *
   * @throws DecryptionError when the database has no integrity key, or it does not open
   * @throws KmsUnavailableError
   */
  async rowMacs(em: EntityManager): Promise<RowMacs> {
    // No organisation sees the key, and whoever asks may be serving one.
    const found = this.#rowMacs ?? (await inSession(systemSession, () => this.findRowMacs(em.fork())));
    if (!found) throw new DecryptionError('The database has no integrity key.');
    return found;
  }

  /**
   * The same data key under the root key that wraps now.
   *
   * @throws DecryptionError, KmsUnavailableError
   */
  async rewrap(dataKey: DataKey): Promise<Wrapped> {
    const key = await this.#open(dataKey);
    return this.#telling(() => this.keyring.wrap(key.export(), dataKey));
  }

  /**
   * Seals under the organisation's data key, as far as is known here. It may be retired before the sealed text is
   * stored: whoever stores it has to look with `retiredAmong`, or to call `forgetSealKey` just before this.
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

  /** Has the next `seal` ask the database which data key the organisation seals under. */
  forgetSealKey(orgId: string): void {
    this.#active.delete(activeCacheKey(orgId, 'SEAL'));
  }

  /** What finds the ids of those of the data keys that others have taken over from. */
  retiredAmong(dataKeyIds: readonly string[]): SqlStatement {
    const sql = 'select id from data_key where id in (?) and retired_at is not null';
    return { sql, params: [[...new Set(dataKeyIds)]] };
  }

  /**
   * @param readAgain reads what is sealed once more: it may have been sealed again, and its data key destroyed, since it was
   *   read. It gives undefined when something else is sealed there now.
   * @throws DecryptionError, whose message says what does not fit and nothing of the content; so does the log
   * @throws KmsUnavailableError
   */
  async open(
    em: EntityManager,
    binding: EncryptionContext,
    sealed: Sealed,
    readAgain: () => Promise<Sealed | undefined> = async () => undefined,
  ): Promise<Record<string, Secret>> {
    const { orgId } = binding;
    const keyOf = ({ dataKeyId: id }: Sealed) => this.#keyOf(em, { id, orgId });
    try {
      const key = await keyOf(sealed);
      if (key) return await unseal(sealed.text, key, binding);
      const resealed = await readAgain();
      const newKey = resealed && (await keyOf(resealed));
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
   * A keyed HMAC-SHA-256 over what is given, as 64 hex digits: the same within one organisation for the same values,
   * in whatever order they are given, and another in the next organisation and for another purpose.
   */
  async mac(em: EntityManager, orgId: string, purpose: MacPurpose, value: object): Promise<string> {
    const { key } = await this.#activeKey(em, orgId, purpose);
    return createHmac('sha256', key).update(canonicalJson(value)).digest('hex');
  }

  /**
   * Opens one data key of each root key in use. One that is open already costs no call to a key service. The database
   * looks up one row for each root key, however many organisations there are.
   *
   * @param options `keyring`: other root keys, to be tried before they are in force. `query`: what runs the statement,
   *   if that is not `em`
   * @throws InvalidKeyringError with one sentence that names the root key that is missing or does not fit
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
    // Once a key has taken over, none of those before it is active again, whatever its row says.
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

  /** A data key; undefined when it is destroyed. */
  async #keyOf(em: EntityManager, whose: Pick<DataKey, 'id' | 'orgId'>): Promise<KeyObject | undefined> {
    const known = this.#opened.get(openedCacheKey(whose));
    if (known) return known;
    const dataKey = await em.findOne(DataKey, whose);
    if (!dataKey) throw new DecryptionError('The organisation has no such data key.');
    return dataKey.rootKeyId ? this.#open(dataKey) : undefined;
  }

  #open(dataKey: DataKey): Promise<KeyObject> {
    const name = openedCacheKey(dataKey);
    const known = this.#opened.get(name);
    if (known) return known;
    const opening = this.#telling(async () => createSecretKey(await this.keyring.unwrap(dataKey)));
    this.#opened.set(name, opening);
    opening.catch(() => this.#opened.get(name) === opening && this.#opened.delete(name));
    return opening;
  }

  /** Does something with a root key, and if its service fails, tells the log why. */
  async #telling<T>(work: () => Promise<T>): Promise<T> {
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
    keyOf: () => key,
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
