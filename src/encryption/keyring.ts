import { randomBytes, randomUUID } from 'node:crypto';
import type { Secret } from '../common/secret.ts';
import { DecryptionError } from './jwe.ts';
import { findRootKeyWeakness } from './key-strength.ts';
import { KmsRootKey } from './kms-root-key.ts';
import { LocalRootKey } from './local-root-key.ts';
import type { DataKeyBinding, RootKey } from './root-key.ts';

/** A data key under the root key that wrapped it. */
export interface Wrapped {
  wrapped: string;
  rootKeyId: string;
}

/**
 * What a data key begins with that was wrapped in a database whose rows carry MACs. The root key authenticates that it was:
 * without the marker, the data key does not open.
 */
export const rowMacsMarker = 'mac:';

/** The root keys cannot be used. The message is one sentence that says why, and holds none of them. */
export class InvalidKeyringError extends Error {
  override readonly name = 'KeysUnfit';
}

/**
 * The root keys, which wrap the data keys of organisations and never touch anything else.
 * The first one wraps; every one unwraps, so that keys can be rotated.
 */
export class Keyring {
  readonly #keys: ReadonlyMap<string, RootKey>;
  readonly #primary: RootKey;
  /** The id of the root key that wraps. */
  readonly primaryId: string;

  constructor(keys: ReadonlyMap<string, RootKey>) {
    const [first] = keys;
    if (!first) throw new TypeError('A keyring needs at least one key.');
    this.#keys = keys;
    [this.primaryId, this.#primary] = first;
  }

  /** In order, the one that wraps first. */
  get ids(): string[] {
    return [...this.#keys.keys()];
  }

  has(rootKeyId: string): boolean {
    return this.#keys.has(rootKeyId);
  }

  /**
   * Wraps a data key under the primary root key, for `binding` alone, in a database whose rows carry MACs.
   *
   * @throws KmsUnavailableError
   */
  async wrap(dataKey: Uint8Array, binding: DataKeyBinding): Promise<Wrapped> {
    const wrapped = await this.#primary.wrap(dataKey, { ...binding, hasRowMacs: true });
    return { wrapped: rowMacsMarker + wrapped, rootKeyId: this.primaryId };
  }

  /**
   * @throws DecryptionError when the root key is not here, or what is stored is not whole or was wrapped for another binding
   * @throws KmsUnavailableError
   */
  async unwrap(stored: Wrapped & DataKeyBinding): Promise<Uint8Array> {
    const key = this.#keys.get(stored.rootKeyId);
    if (!key)
      throw new DecryptionError('The root key that wraps the data key is not among the encryption keys.');
    const hasRowMacs = stored.wrapped.startsWith(rowMacsMarker);
    const wrapped = hasRowMacs ? stored.wrapped.slice(rowMacsMarker.length) : stored.wrapped;
    return key.unwrap(wrapped, { ...stored, hasRowMacs });
  }

  /**
   * Wraps and unwraps something, before there is anything to lose.
   *
   * @throws KmsUnavailableError when the primary root key cannot be used
   */
  async selfTest(): Promise<void> {
    const nothing = { id: randomUUID(), orgId: randomUUID(), purpose: 'TRIAL' };
    await this.unwrap({ ...nothing, ...(await this.wrap(randomBytes(32), nothing)) });
  }
}

const entryPattern = /^([A-Za-z0-9._-]{1,64}):(.+)$/;
const arnPattern = /^arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:key\/[A-Za-z0-9-]+$/;
const base64Pattern = /^[A-Za-z0-9+/]+={0,2}$/;

/**
 * Reads the root keys, with commas or line breaks between: `id:base64` for one of 32 bytes, or `id:arn:aws:kms:…:key/…`
 * for one in AWS KMS.
 *
 * @throws InvalidKeyringError with one sentence that says which entry is wrong, and never what it holds
 */
export function parseKeyring(text: Secret): Keyring {
  const keys = new Map<string, RootKey>();
  for (const [index, entry] of splitEntries(text).entries()) {
    const where = `entry ${index + 1}`;
    const [, id = '', value = ''] = entryPattern.exec(entry) ?? [];
    const key = parseRootKey(where, id, value);
    if (keys.has(id)) throw new InvalidKeyringError(`${where} repeats the id of an earlier entry`);
    keys.set(id, key);
  }
  return new Keyring(keys);
}

/**
 * Which of the entries that `parseKeyring` takes give no protection: those that can be guessed, and those that have the
 * key of another, so that rotating from one to the other changes nothing.
 *
 * @returns one sentence each, without what the entry holds
 */
export function findWeakEntries(text: Secret): { isFirst: boolean; sentence: string }[] {
  const seen = new Set<string>();
  return splitEntries(text).flatMap((entry, index) => {
    const [, , value = ''] = entryPattern.exec(entry) ?? [];
    const isLocal = !value.startsWith('arn:');
    const bytes = Buffer.from(value, 'base64');
    const key = isLocal ? bytes.toString('hex') : value;
    const weakness = seen.has(key)
      ? 'has the key of an earlier entry'
      : isLocal && findRootKeyWeakness(bytes);
    seen.add(key);
    if (!weakness) return [];
    const sentence = `entry ${index + 1} ${weakness}; make one with "openssl rand -base64 32", and rotate to it`;
    return [{ isFirst: index === 0, sentence }];
  });
}

function splitEntries(text: Secret): string[] {
  return text
    .reveal()
    .trim()
    .split(/\s*[,\n]\s*/);
}

function parseRootKey(where: string, id: string, value: string): RootKey {
  const [arn, region] = arnPattern.exec(value) ?? [];
  if (arn && region) return new KmsRootKey(id, { arn, region });
  if (value.startsWith('arn:')) {
    throw new InvalidKeyringError(
      `${where} does not name a key as AWS KMS does: id:arn:aws:kms:…:key/… (no alias)`,
    );
  }
  if (!base64Pattern.test(value)) {
    throw new InvalidKeyringError(`${where} is not of the form id:base64 or id:arn:aws:kms:…:key/…`);
  }
  const bytes = Buffer.from(value, 'base64');
  if (bytes.length !== 32)
    throw new InvalidKeyringError(`${where} holds ${bytes.length} bytes instead of 32`);
  return new LocalRootKey(id, bytes);
}

/** A new root key in the form that `parseKeyring` reads. */
export function generateRootKey(): string {
  const day = new Date().toISOString().slice(0, 10).replaceAll('-', '');
  const id = `k${day}-${randomBytes(3).toString('hex')}`;
  return `${id}:${randomBytes(32).toString('base64')}`;
}
