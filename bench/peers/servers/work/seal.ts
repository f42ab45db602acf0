import { createCipheriv, createHmac, randomBytes } from 'node:crypto';

/** Encrypts a token with AES-256-GCM, with `place` as additional authenticated data. */
export function seal(key: Buffer, token: string, place: string): string {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(place));
  const sealed = Buffer.concat([cipher.update(token, 'utf8'), cipher.final()]);
  return [iv, sealed, cipher.getAuthTag()].map((part) => part.toString('base64url')).join('.');
}

/** A keyed hash of credentials, in hex. */
export function hashCredentials(key: Buffer, orgId: string, credentials: Record<string, string>): string {
  return createHmac('sha256', key)
    .update(JSON.stringify([orgId, credentials]))
    .digest('hex');
}
