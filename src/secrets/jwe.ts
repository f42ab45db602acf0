import type { KeyObject } from 'node:crypto';
import { CompactEncrypt, compactDecrypt } from 'jose';

/** What is sealed did not open: it was changed, moved, or its key is not here. The message says nothing of it. */
export class SealBroken extends Error {
  override readonly name = 'SealBroken';
}

/** Encrypts as a compact JWE (`dir`, `A256GCM`) whose protected header names the key and where the text belongs. */
export function sealJwe(
  content: Uint8Array,
  key: KeyObject,
  kid: string,
  binding: Readonly<Record<string, string>>,
): Promise<string> {
  return new CompactEncrypt(content)
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid, ...binding })
    .encrypt(key);
}

/**
 * Opens what `sealJwe` made, if it is whole and belongs where it was found. `what` begins the message if not.
 *
 * @throws SealBroken
 */
export async function openJwe(
  text: string,
  options: { what: string; keyOf: (kid: string) => KeyObject; binding: Readonly<Record<string, string>> },
): Promise<Uint8Array> {
  const { what, keyOf, binding } = options;
  if (!isCanonical(text)) throw new SealBroken(`${what} was changed.`);
  const { plaintext, protectedHeader } = await compactDecrypt(text, ({ kid }) => keyOf(String(kid)), {
    keyManagementAlgorithms: ['dir'],
    contentEncryptionAlgorithms: ['A256GCM'],
  }).catch((error: unknown) => {
    throw error instanceof SealBroken
      ? error
      : new SealBroken(`${what} was changed, or sealed under another key.`);
  });
  for (const [name, value] of Object.entries(binding)) {
    if (protectedHeader[name] !== value) throw new SealBroken(`${what} was sealed for another ${name}.`);
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
