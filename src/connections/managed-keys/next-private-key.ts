import type { KeyPair, ManagedKeys } from '../../apps/managed-keys.ts';
import type { StoredCredentials } from '../credentials/seal.ts';

/** The name of the private key of the pending key among the inactive secrets. */
const name = 'rotation.privateKey';

/** Returns the credentials with a private key that is not in use yet. */
export function withNextPrivateKey(
  credentials: StoredCredentials,
  { privateKey }: KeyPair,
): StoredCredentials {
  return { ...credentials, inactive: { ...credentials.inactive, [name]: privateKey } };
}

/** Returns the inactive secrets without the next private key: those of credentials that others replace. */
export function withoutNextPrivateKey(
  inactive: NonNullable<StoredCredentials['inactive']>,
): NonNullable<StoredCredentials['inactive']> {
  const { [name]: _, ...others } = inactive;
  return others;
}

/** Returns the credentials with the next private key in place of the one in use; undefined if there is none. */
export function withPendingKey(
  { privateKeyField }: ManagedKeys,
  { inactive = {}, ...credentials }: StoredCredentials,
): StoredCredentials | undefined {
  const { [name]: next, ...others } = inactive;
  if (!next) return undefined;
  return { ...credentials, secret: { ...credentials.secret, [privateKeyField]: next }, inactive: others };
}
