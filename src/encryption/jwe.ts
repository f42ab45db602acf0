import { createCipheriv, type KeyObject, randomBytes } from 'node:crypto';
import { compactDecrypt } from 'jose';

/** Decryption failed: the ciphertext was changed or moved, or its key is missing. The message contains none of the content. */
export class DecryptionError extends Error {
  override readonly name = 'DecryptionError';
}

/**
 * Encrypts as a compact JWE (RFC 7516, section 7.1; `dir`, `A256GCM`). The protected header has the key id and the
 * encryption context. jose produces the same text but hops through the thread pool, which costs 9 % of the main thread
 * under load; `openJwe` uses jose.
 */
export function sealJwe(
  content: Uint8Array,
  key: KeyObject,
  kid: string,
  context: Readonly<Record<string, string>>,
): string {
  const header = Buffer.from(JSON.stringify({ alg: 'dir', enc: 'A256GCM', kid, ...context })).toString(
    'base64url',
  );
  // NIST SP 800-38D, section 8.3: random 96-bit IVs are safe for 2³² encryptions under one key.
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(header, 'ascii'));
  const ciphertext = Buffer.concat([cipher.update(content), cipher.final()]);
  // With `dir`, the encrypted key is empty.
  const parts = [iv, ciphertext, cipher.getAuthTag()].map((part) => part.toString('base64url'));
  return [header, '', ...parts].join('.');
}

/**
 * Decrypts and authenticates the output of `sealJwe`. `subject` starts the error message.
 *
 * @throws DecryptionError
 */
export async function openJwe(
  text: string,
  options: { subject: string; getKey: (kid: string) => KeyObject; context: Readonly<Record<string, string>> },
): Promise<Uint8Array> {
  const { subject, getKey, context } = options;
  if (!isCanonical(text)) throw new DecryptionError(`${subject} was changed.`);
  const { plaintext, protectedHeader } = await compactDecrypt(text, ({ kid }) => getKey(String(kid)), {
    keyManagementAlgorithms: ['dir'],
    contentEncryptionAlgorithms: ['A256GCM'],
  }).catch((error: unknown) => {
    throw error instanceof DecryptionError
      ? error
      : new DecryptionError(`${subject} was changed, or sealed under another key.`);
  });
  const { alg, enc, kid, ...sealedContext } = protectedHeader;
  for (const name of new Set([...Object.keys(context), ...Object.keys(sealedContext)])) {
    if (sealedContext[name] !== context[name])
      throw new DecryptionError(`${subject} was sealed for another ${name}.`);
  }
  return plaintext;
}

/**
 * Rejects non-canonical base64url: the unused bits of a part's last character can vary without changing the decoded bytes,
 * so a flipped bit there would go unnoticed.
 */
function isCanonical(text: string): boolean {
  return text.split('.').every((part) => Buffer.from(part, 'base64url').toString('base64url') === part);
}
