import { createCipheriv, type KeyObject, randomBytes } from 'node:crypto';
import { compactDecrypt } from 'jose';

/** What is sealed did not open: it was changed, moved, or its key is not here. The message says nothing of it. */
export class DecryptionError extends Error {
  override readonly name = 'SealBroken';
}

/**
 * Encrypts as a compact JWE (`dir`, `A256GCM`) whose protected header names the key and where the text belongs; RFC 7516,
 * section 7.1. jose would make the same, by way of four other threads, and opens it.
 */
export function sealJwe(
  content: Uint8Array,
  key: KeyObject,
  kid: string,
  binding: Readonly<Record<string, string>>,
): string {
  const header = Buffer.from(JSON.stringify({ alg: 'dir', enc: 'A256GCM', kid, ...binding })).toString(
    'base64url',
  );
  // Random ones of 96 bits, as NIST SP 800-38D has it, are good for 2³² texts under one key.
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(header, 'ascii'));
  const ciphertext = Buffer.concat([cipher.update(content), cipher.final()]);
  // With `dir`, the second part, the key in encrypted form, is empty.
  const parts = [iv, ciphertext, cipher.getAuthTag()].map((part) => part.toString('base64url'));
  return [header, '', ...parts].join('.');
}

/**
 * Opens what `sealJwe` made, if it is whole and belongs where it was found. `what` begins the message if not.
 *
 * @throws DecryptionError
 */
export async function openJwe(
  text: string,
  options: { what: string; keyOf: (kid: string) => KeyObject; binding: Readonly<Record<string, string>> },
): Promise<Uint8Array> {
  const { what, keyOf, binding } = options;
  if (!isCanonical(text)) throw new DecryptionError(`${what} was changed.`);
  const { plaintext, protectedHeader } = await compactDecrypt(text, ({ kid }) => keyOf(String(kid)), {
    keyManagementAlgorithms: ['dir'],
    contentEncryptionAlgorithms: ['A256GCM'],
  }).catch((error: unknown) => {
    throw error instanceof DecryptionError
      ? error
      : new DecryptionError(`${what} was changed, or sealed under another key.`);
  });
  const { alg, enc, kid, ...sealedFor } = protectedHeader;
  for (const name of new Set([...Object.keys(binding), ...Object.keys(sealedFor)])) {
    if (sealedFor[name] !== binding[name])
      throw new DecryptionError(`${what} was sealed for another ${name}.`);
  }
  return plaintext;
}

/**
 * Base64url lets the spare bits of a part's last character vary without changing what it decodes to,
 * so a flipped bit there would go unseen; only the one canonical spelling is ours.
 */
function isCanonical(text: string): boolean {
  return text.split('.').every((part) => Buffer.from(part, 'base64url').toString('base64url') === part);
}
