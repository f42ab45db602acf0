import { randomBytes } from 'node:crypto';

/** A new root key, as in ENCRYPTION_KEYS. */
export function rootKey(id: string): string {
  return `${id}:${randomBytes(32).toString('base64')}`;
}
