import { randomBytes, randomUUID } from 'node:crypto';
import { formatCount } from '../common/format-count.ts';
import type { Secret } from '../common/secret.ts';
import { DecryptionError } from './jwe.ts';
import { findRootKeyWeakness } from './key-strength.ts';
import { KmsRootKey } from './kms-root-key.ts';
import { LocalRootKey } from './local-root-key.ts';
import type { DataKeyBinding, RootKey } from './root-key.ts';

/** A wrapped data key. */
export interface Wrapped {
  wrapped: string;
  rootKeyId: string;
}

/**
 * Prefix of data keys that were wrapped in a database whose rows carry MACs. The root key authenticates it: the data key
 * does not unwrap without it.
 */
export const rowMacsMarker = 'mac:';

/** The root keys cannot be used. The message is one sentence with the reason and contains no key. */
export class InvalidKeyringError extends Error {
  override readonly name = 'InvalidKeyringError';
}

/**
 * The root keys. They wrap data keys and nothing else. The first one is the primary and wraps; all of them unwrap, so
 * that root keys can be rotated.
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

  /** The ids of the root keys, the primary first. */
  get ids(): string[] {
    return [...this.#keys.keys()];
  }

  has(rootKeyId: string): boolean {
    return this.#keys.has(rootKeyId);
  }

  /**
   * Wraps a data key under the primary root key, in a database whose rows carry MACs. It unwraps for this binding only.
   *
   * @throws KmsUnavailableError
   */
  async wrap(dataKey: Uint8Array, binding: DataKeyBinding): Promise<Wrapped> {
    const wrapped = await this.#primary.wrap(dataKey, { ...binding, hasRowMacs: true });
    return { wrapped: rowMacsMarker + wrapped, rootKeyId: this.primaryId };
  }

  /**
   * @throws DecryptionError when the root key is missing, or the wrapped key was changed or belongs to another binding
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
   * Wraps and unwraps a random key, to find an unusable root key before data depends on it.
   *
   * @throws KmsUnavailableError when the primary root key cannot be used
   */
  async selfTest(): Promise<void> {
    const binding = { id: randomUUID(), orgId: randomUUID(), purpose: 'TRIAL' };
    await this.unwrap({ ...binding, ...(await this.wrap(randomBytes(32), binding)) });
  }
}

const entryPattern = /^([A-Za-z0-9._-]{1,64}):(.+)$/;
const arnPattern = /^arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:key\/[A-Za-z0-9-]+$/;
const base64Pattern = /^[A-Za-z0-9+/]+={0,2}$/;

/**
 * Parses root keys, separated by commas or line breaks: `id:base64` is a local key of 32 bytes, `id:arn:aws:kms:…:key/…` a
 * key in AWS KMS.
 *
 * @throws InvalidKeyringError with one sentence that names the wrong entry by its position, without its content
 */
export function parseKeyring(text: Secret): Keyring {
  const keys = new Map<string, RootKey>();
  for (const [index, entry] of splitEntries(text).entries()) {
    const position = `entry ${index + 1}`;
    const [, id = '', value = ''] = entryPattern.exec(entry) ?? [];
    const key = parseRootKey(position, id, value);
    if (keys.has(id)) throw new InvalidKeyringError(`${position} repeats the id of an earlier entry`);
    keys.set(id, key);
  }
  return new Keyring(keys);
}

/**
 * Finds entries that parse but do not protect: guessable keys, and keys that repeat an earlier entry, so that a rotation
 * between the two changes nothing.
 *
 * @returns one sentence per entry, without its content
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

function parseRootKey(position: string, id: string, value: string): RootKey {
  const [arn, region] = arnPattern.exec(value) ?? [];
  if (arn && region) return new KmsRootKey(id, { arn, region });
  if (value.startsWith('arn:')) {
    throw new InvalidKeyringError(
      `${position} does not name a key as AWS KMS does: id:arn:aws:kms:…:key/… (no alias)`,
    );
  }
  if (!base64Pattern.test(value)) {
    throw new InvalidKeyringError(`${position} is not of the form id:base64 or id:arn:aws:kms:…:key/…`);
  }
  const bytes = Buffer.from(value, 'base64');
  if (bytes.length !== 32)
    throw new InvalidKeyringError(`${position} holds ${formatCount(bytes.length, 'byte')} instead of 32`);
  return new LocalRootKey(id, bytes);
}

/** Generates a root key, formatted for `parseKeyring`. */
export function generateRootKey(): string {
  const day = new Date().toISOString().slice(0, 10).replaceAll('-', '');
  const id = `k${day}-${randomBytes(3).toString('hex')}`;
  return `${id}:${randomBytes(32).toString('base64')}`;
}
