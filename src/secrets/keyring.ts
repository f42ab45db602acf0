import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { openJwe, SealBroken, sealJwe } from './jwe.ts';
import type { Secret } from './secret.ts';

/** What a data key is for and whose it is; a wrapped key opens for nothing else. */
export interface DataKeyBinding {
  id: string;
  orgId: string;
  purpose: string;
}

/**
 * The root keys, which wrap the data keys of organisations and never touch anything else.
 * The first one wraps; every one unwraps, so that keys can be rotated.
 */
export class Keyring {
  readonly #keys: ReadonlyMap<string, KeyObject>;
  /** The id of the root key that wraps. */
  readonly primaryId: string;

  constructor(keys: ReadonlyMap<string, KeyObject>) {
    const [primaryId] = keys.keys();
    if (primaryId === undefined) throw new TypeError('A keyring needs at least one key.');
    this.#keys = keys;
    this.primaryId = primaryId;
  }

  has(rootKeyId: string): boolean {
    return this.#keys.has(rootKeyId);
  }

  /** Wraps a data key under the primary root key, as a compact JWE that is bound to `binding`. */
  wrap(dataKey: Uint8Array, binding: DataKeyBinding): Promise<string> {
    return sealJwe(dataKey, this.#key(this.primaryId), this.primaryId, header(binding));
  }

  /** @throws SealBroken when the root key is not here, the JWE is not whole, or it was wrapped for another binding */
  unwrap(wrapped: string, binding: DataKeyBinding): Promise<Uint8Array> {
    return openJwe(wrapped, {
      what: 'The data key',
      keyOf: (id) => this.#key(id),
      binding: header(binding),
    });
  }

  #key(id: string): KeyObject {
    const key = this.#keys.get(id);
    if (!key) throw new SealBroken('The root key that wraps the data key is not among the encryption keys.');
    return key;
  }
}

function header(binding: DataKeyBinding): Record<string, string> {
  return { dk: binding.id, org: binding.orgId, use: binding.purpose };
}

/**
 * Reads `id:base64,id:base64…`, 32 bytes each.
 *
 * @throws Error with one sentence that says which entry is wrong, and never what it holds
 */
export function parseKeyring(text: Secret): Keyring {
  const keys = new Map<string, KeyObject>();
  for (const [index, entry] of text.reveal().split(',').entries()) {
    const where = `entry ${index + 1}`;
    const [, id, base64] = /^\s*([A-Za-z0-9._-]{1,64}):([A-Za-z0-9+/]+={0,2})\s*$/.exec(entry) ?? [];
    if (!id || !base64) throw new Error(`${where} is not of the form id:base64`);
    const bytes = Buffer.from(base64, 'base64');
    if (bytes.length !== 32) throw new Error(`${where} holds ${bytes.length} bytes instead of 32`);
    if (keys.has(id)) throw new Error(`${where} repeats the id of an earlier entry`);
    keys.set(id, createSecretKey(bytes));
  }
  return new Keyring(keys);
}

/** A new root key in the form that `parseKeyring` reads. */
export function generateRootKey(): string {
  const day = new Date().toISOString().slice(0, 10).replaceAll('-', '');
  const id = `k${day}-${randomBytes(3).toString('hex')}`;
  return `${id}:${randomBytes(32).toString('base64')}`;
}
