import { createHmac, createSecretKey, type KeyObject, randomBytes, randomUUID } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import type { Logger } from '../log.ts';
import { DataKey, type DataKeyPurpose, dataKeyPurposes } from './data-key.entity.ts';
import { openJwe, SealBroken, sealJwe } from './jwe.ts';
import type { Keyring } from './keyring.ts';
import { Secret } from './secret.ts';

export { SealBroken } from './jwe.ts';

/** The keys that make hashes. */
export type MacPurpose = Exclude<DataKeyPurpose, 'SEAL'>;

/** Where a sealed text belongs; it opens nowhere else. */
export interface SealBinding {
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

const maxOpenedKeys = 1_000;

/** Seals and opens credentials under the data keys of organisations, and fingerprints them. */
export class Vault {
  readonly #keyring: Keyring;
  readonly #log: Logger;
  /** Unwrapped data keys by id: unwrapping may cost a call to a key service. */
  readonly #opened = new Map<string, KeyObject>();

  constructor(keyring: Keyring, log: Logger) {
    this.#keyring = keyring;
    this.#log = log;
  }

  /** Makes the first data keys of an organisation; the caller flushes. */
  async addDataKeys(em: EntityManager, orgId: string): Promise<void> {
    for (const purpose of dataKeyPurposes) {
      const id = randomUUID();
      const wrapped = await this.#keyring.wrap(randomBytes(32), { id, orgId, purpose });
      const rootKeyId = this.#keyring.primaryId;
      em.create(DataKey, { id, orgId, purpose, wrapped, rootKeyId, createdAt: new Date(), retiredAt: null });
    }
  }

  async seal(
    em: EntityManager,
    binding: SealBinding,
    secrets: Readonly<Record<string, Secret>>,
  ): Promise<Sealed> {
    const dataKey = await this.#activeKey(em, binding.orgId, 'SEAL');
    const content = new TextEncoder().encode(canonical(secrets));
    const text = await sealJwe(content, await this.#open(dataKey), dataKey.id, header(binding));
    return { text, dataKeyId: dataKey.id };
  }

  /** @throws SealBroken, whose message says what does not fit and nothing of the content; so does the log */
  async open(em: EntityManager, binding: SealBinding, sealed: Sealed): Promise<Record<string, Secret>> {
    try {
      const dataKey = await em.findOne(DataKey, { id: sealed.dataKeyId, orgId: binding.orgId });
      if (!dataKey) throw new SealBroken('The organisation has no such data key.');
      return await unseal(sealed.text, await this.#open(dataKey), binding);
    } catch (error) {
      if (error instanceof SealBroken) {
        const { orgId, connectionId } = binding;
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
    const key = await this.#open(await this.#activeKey(em, orgId, purpose));
    return createHmac('sha256', key).update(canonical(value)).digest('hex');
  }

  /**
   * Opens one data key of each root key in use.
   *
   * @throws Error with one sentence that names the root key that is missing or does not fit
   */
  async checkKeys(em: EntityManager): Promise<void> {
    const samples: { root_key_id: string; id: string }[] = await em.execute(
      'select distinct on (root_key_id) root_key_id, id from data_key order by root_key_id, id',
    );
    for (const { root_key_id: rootKeyId, id } of samples) {
      if (!this.#keyring.has(rootKeyId)) {
        throw new Error(`the stored data keys are wrapped by "${rootKeyId}", which is not among them`);
      }
      const dataKey = await em.findOneOrFail(DataKey, { id });
      await this.#keyring.unwrap(dataKey.wrapped, dataKey).catch(() => {
        throw new Error(`"${rootKeyId}" is not the key that wrapped the stored data keys`);
      });
    }
  }

  async #activeKey(em: EntityManager, orgId: string, purpose: DataKeyPurpose): Promise<DataKey> {
    return em.findOneOrFail(DataKey, { orgId, purpose, retiredAt: null });
  }

  async #open(dataKey: DataKey): Promise<KeyObject> {
    const known = this.#opened.get(dataKey.id);
    if (known) return known;
    const key = createSecretKey(await this.#keyring.unwrap(dataKey.wrapped, dataKey));
    const [oldest] = this.#opened.keys();
    if (this.#opened.size >= maxOpenedKeys && oldest) this.#opened.delete(oldest);
    this.#opened.set(dataKey.id, key);
    return key;
  }
}

async function unseal(text: string, key: KeyObject, binding: SealBinding): Promise<Record<string, Secret>> {
  const plaintext = await openJwe(text, {
    what: 'The sealed text',
    keyOf: () => key,
    binding: header(binding),
  });
  const values: Record<string, string> = JSON.parse(new TextDecoder().decode(plaintext));
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, new Secret(value)]));
}

function header(binding: SealBinding): Record<string, string> {
  return {
    org: binding.orgId,
    cid: binding.connectionId,
    app: binding.app,
    method: binding.method,
    host: binding.host,
  };
}

/** JSON with its keys in order and its secrets revealed: equal for equal values. */
function canonical(value: object): string {
  return JSON.stringify(ordered(value));
}

function ordered(value: unknown): unknown {
  if (value instanceof Secret) return value.reveal();
  if (value instanceof Date || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(ordered);
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return Object.fromEntries(
    entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, each]) => [key, ordered(each)]),
  );
}
