import { createHmac, type KeyObject } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { LRUCache } from 'lru-cache';
import { canonicalJson } from '../common/canonical-json.ts';
import type { Logger } from '../common/log.ts';
import type { Secret } from '../common/secret.ts';
import type { SqlStatement } from '../database/database.ts';
import { inSession, systemSession } from '../database/driver/session.ts';
import {
  DataKey,
  type DataKeyPurpose,
  dataKeyPurposes,
  integrityOwner,
  integrityPurpose,
} from './data-key.entity.ts';
import { DataKeys } from './data-keys.ts';
import { DecryptionError } from './jwe.ts';
import type { Keyring } from './keyring.ts';
import { MacMismatch, RowMacs } from './row-macs.ts';
import { type EncryptionContext, openSecrets, sealSecrets } from './sealed-secrets.ts';

/** The purposes of data keys that compute MACs. */
export type MacPurpose = Exclude<DataKeyPurpose, 'SEAL'>;

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

/** Encrypts and decrypts credentials under the data keys of organisations, and computes keyed MACs. */
export class Vault {
  readonly dataKeys: DataKeys;
  readonly #log: Logger;
  /** Active data keys by organisation and purpose. Only `SEAL` keys are ever retired. */
  readonly #active = new LRUCache<string, OpenKey>({ max: maxKeys });
  /** Data keys that this process created. Their transaction may roll back, so they are not cached as active. */
  readonly #created = new WeakSet<DataKey>();
  #rowMacs: RowMacs | undefined;

  constructor(keyring: Keyring, log: Logger) {
    this.dataKeys = new DataKeys(keyring, log);
    this.#log = log;
  }

  /**
   * Creates the first data keys of an organisation. The caller flushes.
   *
   * @throws KmsUnavailableError
   */
  async addDataKeys(em: EntityManager, orgId: string): Promise<void> {
    for (const purpose of dataKeyPurposes) {
      this.#created.add(em.create(DataKey, await this.dataKeys.generate(orgId, purpose)));
    }
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
    if (stored) this.#rowMacs = new RowMacs(await this.#openIntegrityKey(stored), this.#log);
    return this.#rowMacs;
  }

  /**
   * Whether the MAC of the row of a data key matches; undefined if the integrity key does not open.
   *
   * @param em sees the rows of all organisations
   */
  async isAuthentic(em: EntityManager, dataKey: DataKey): Promise<boolean | undefined> {
    const macs = await this.findRowMacs(em).catch(() => undefined);
    return macs?.matches(em, DataKey, dataKey);
  }

  /**
   * Creates the integrity key. The caller flushes.
   *
   * @throws KmsUnavailableError
   */
  async addIntegrityKey(em: EntityManager): Promise<RowMacs> {
    const dataKey = em.create(DataKey, await this.dataKeys.generate(integrityOwner, integrityPurpose));
    this.#rowMacs = new RowMacs(await this.dataKeys.unwrap(dataKey), this.#log);
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
   * Encrypts under the organisation's active data key, which may come from the cache. Another server may retire that key
   * before the caller stores the result: the caller compares it with `sealKeyQuery`, or calls `invalidateSealKey` first.
   *
   * @throws DecryptionError, KmsUnavailableError
   */
  async seal(
    em: EntityManager,
    context: EncryptionContext,
    secrets: Readonly<Record<string, Secret>>,
  ): Promise<Sealed> {
    const { id, key } = await this.#activeKey(em, context.orgId, 'SEAL');
    return { text: sealSecrets(secrets, id, key, context), dataKeyId: id };
  }

  /** Removes the organisation's `SEAL` key from the cache, so that the next `seal` reads it from the database. */
  invalidateSealKey(orgId: string): void {
    this.#active.delete(activeCacheKey(orgId, 'SEAL'));
  }

  /** Removes all unwrapped data keys of an organisation from memory. The next use reads them from the database. */
  forget(orgId: string): void {
    this.dataKeys.forget(orgId);
    for (const purpose of dataKeyPurposes) this.#active.delete(activeCacheKey(orgId, purpose));
  }

  /** Returns the query for the id of the data key that encrypts the organisation's credentials. */
  sealKeyQuery(orgId: string): SqlStatement {
    const sql = "select id from data_key where org_id = ? and purpose = 'SEAL' and retired_at is null";
    return { sql, params: [orgId] };
  }

  /**
   * Decrypts credentials.
   *
   * @param readAgain reads the ciphertext again: a rotation may have re-encrypted it and destroyed its data key since it
   *   was read. It throws if the credentials were replaced.
   * @throws DecryptionError, whose message names the mismatch and contains nothing of the content; it is logged as well
   * @throws KmsUnavailableError
   */
  async open(
    em: EntityManager,
    context: EncryptionContext,
    sealed: Sealed,
    readAgain: () => Promise<Sealed> = async () => sealed,
  ): Promise<Record<string, Secret>> {
    const { orgId } = context;
    const getKey = ({ dataKeyId: id }: Sealed) => this.dataKeys.find(em, { id, orgId });
    try {
      const key = await getKey(sealed);
      if (key) return await openSecrets(sealed.text, key, context);
      const resealed = await readAgain();
      const newKey = await getKey(resealed);
      if (newKey) return await openSecrets(resealed.text, newKey, context);
      throw new DecryptionError('The data key is destroyed.');
    } catch (error) {
      if (error instanceof DecryptionError) {
        const { connectionId } = context;
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

  async #openIntegrityKey(stored: DataKey): Promise<KeyObject> {
    try {
      return await this.dataKeys.open(stored);
    } catch (error) {
      if (!(error instanceof DecryptionError)) throw error;
      throw new DecryptionError(`The integrity key ${stored.id} does not open. ${error.message}`);
    }
  }

  async #activeKey(em: EntityManager, orgId: string, purpose: DataKeyPurpose): Promise<OpenKey> {
    const name = activeCacheKey(orgId, purpose);
    const cached = this.#active.get(name);
    if (cached) return cached;
    // The newest row decides: an editor of the database who clears `retired_at` must not reactivate an old key.
    const [dataKey] = await em.find(
      DataKey,
      { orgId, purpose },
      { orderBy: { createdAt: 'desc', id: 'desc' }, limit: 1 },
    );
    if (!dataKey || dataKey.retiredAt) {
      const reference = { ...(dataKey && { id: dataKey.id }), orgId, purpose };
      throw this.dataKeys.reportDamage(reference, `The organisation has no active ${purpose} key.`);
    }
    const active = { id: dataKey.id, key: await this.dataKeys.unwrap(dataKey) };
    if (!(await this.rowMacs(em)).isAuthentic(em, DataKey, dataKey))
      throw this.dataKeys.reportDamage(dataKey, new MacMismatch('data_key').message);
    if (!this.#created.has(dataKey)) this.#active.set(name, active);
    return active;
  }
}

function activeCacheKey(orgId: string, purpose: DataKeyPurpose): string {
  return `${orgId} ${purpose}`;
}
