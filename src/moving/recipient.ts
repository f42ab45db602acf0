import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { CompactEncrypt, compactDecrypt } from 'jose';
import { StartupError } from '../common/errors.ts';
import { DataKey, importPurpose, integrityOwner } from '../encryption/data-key.entity.ts';
import type { Vault } from '../encryption/vault.ts';

const prefix = 'acr1';
const keyBytes = 32;
const checksumBytes = 4;
/** What precedes the 32 bytes of an X25519 key in DER (RFC 8410). */
const privateKeyPrefix = Buffer.from('302e020100300506032b656e04220420', 'hex');
const publicKeyPrefix = Buffer.from('302a300506032b656e032100', 'hex');

/** The public key of a database that exports are encrypted for. */
export interface Recipient {
  /** `acr1`, and the key with a checksum in base64url. */
  text: string;
  key: KeyObject;
}

/**
 * Parses the public key that `import --print-recipient` prints.
 *
 * @throws StartupError if it is no such key, or has a typing error
 */
export function parseRecipient(text: string): Recipient {
  const bytes = Buffer.from(text.startsWith(prefix) ? text.slice(prefix.length) : '', 'base64url');
  const key = bytes.subarray(0, keyBytes);
  if (bytes.length !== keyBytes + checksumBytes || formatRecipient(key) !== text)
    throw new StartupError(
      '--recipient is not a public key; copy it from "import --print-recipient" on the other side',
    );
  const der = Buffer.concat([publicKeyPrefix, key]);
  return { text, key: createPublicKey({ key: der, format: 'der', type: 'spki' }) };
}

function formatRecipient(key: Uint8Array): string {
  const checksum = createHash('sha256').update(key).digest().subarray(0, checksumBytes);
  return prefix + Buffer.concat([key, checksum]).toString('base64url');
}

/** Returns the public key of this database; undefined if it has none. */
async function findRecipient(em: EntityManager, vault: Vault): Promise<string | undefined> {
  const dataKey = await em.findOne(DataKey, importKey);
  return dataKey ? toRecipient(await openPrivateKey(em, vault, dataKey)) : undefined;
}

/**
 * Returns the public key of this database, and creates the key pair if there is none. The private key is stored as a data key:
 * wrapped by the root key, which a rotation replaces.
 *
 * @param em in a transaction that excludes others
 * @throws KmsUnavailableError
 */
export async function ensureRecipient(em: EntityManager, vault: Vault): Promise<string> {
  const found = await findRecipient(em, vault);
  if (found) return found;
  const dataKey = em.create(DataKey, await vault.dataKeys.generate(integrityOwner, importPurpose));
  await em.flush();
  return toRecipient(toPrivateKey(await vault.dataKeys.unwrap(dataKey)));
}

const importKey = { orgId: integrityOwner, purpose: importPurpose, retiredAt: null } as const;

function toRecipient(privateKey: KeyObject): string {
  const der = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return formatRecipient(der.subarray(-keyBytes));
}

async function openPrivateKey(em: EntityManager, vault: Vault, dataKey: DataKey): Promise<KeyObject> {
  (await vault.rowMacs(em)).verify(em, DataKey, dataKey);
  return toPrivateKey(await vault.dataKeys.unwrap(dataKey));
}

function toPrivateKey(secret: KeyObject): KeyObject {
  const der = Buffer.concat([privateKeyPrefix, secret.export()]);
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}

/** Encrypts a secret for a recipient as a compact JWE (`ECDH-ES` on X25519, `A256GCM`). */
export function sealForRecipient(secret: Uint8Array, { key, text }: Recipient, id: string): Promise<string> {
  return new CompactEncrypt(secret)
    .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM', kid: text, export: id })
    .encrypt(key);
}

/**
 * Decrypts the output of `sealForRecipient` with the private key of this database.
 *
 * @throws StartupError if it was encrypted for another recipient, or changed
 */
export async function openAsRecipient(
  em: EntityManager,
  vault: Vault,
  { recipient, sealed }: { recipient: string; sealed: string },
): Promise<Uint8Array> {
  const dataKey = await em.findOne(DataKey, importKey);
  const own = dataKey && (await openPrivateKey(em, vault, dataKey));
  if (!own || toRecipient(own) !== recipient)
    throw new StartupError(
      `it is encrypted for the recipient ${recipient}, which is not this database; export it for the recipient that "import --print-recipient" prints here`,
    );
  const options = { keyManagementAlgorithms: ['ECDH-ES'], contentEncryptionAlgorithms: ['A256GCM'] };
  const { plaintext } = await compactDecrypt(sealed, own, options);
  return plaintext;
}
