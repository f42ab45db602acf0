import type { Secret } from '../common/secret.ts';

/**
 * Converts DATABASE_URL for the driver. The driver treats `sslmode=prefer`, `require` and `verify-ca` as `verify-full`,
 * and prints a warning that its next major version will not. `verify-full` has the same effect and no warning.
 */
export function toConnectionString(url: Secret): string {
  const text = url.reveal();
  // With this parameter, the driver gives the modes the meaning that they have in libpq.
  if (/[?&]uselibpqcompat=true(&|$)/.test(text)) return text;
  return text.replace(/([?&]sslmode=)(prefer|require|verify-ca)(?=&|$)/g, '$1verify-full');
}
