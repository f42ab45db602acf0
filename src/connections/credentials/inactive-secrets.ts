import type { Credentials } from '../../apps/credentials.ts';
import type { StoredCredentials } from './seal.ts';

/** Returns the inactive secrets whose names begin with a prefix, by the rest of their names. */
export function getInactiveSecrets(
  { inactive = {} }: StoredCredentials,
  prefix: string,
): Credentials['secret'] {
  const own = Object.entries(inactive).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(own.map(([name, secret]) => [name.slice(prefix.length), secret]));
}

/** Returns the inactive secrets with others in place of those whose names begin with a prefix. */
export function replaceInactiveSecrets(
  { inactive = {} }: StoredCredentials,
  prefix: string,
  secrets: Credentials['secret'] = {},
): NonNullable<StoredCredentials['inactive']> {
  const others = Object.entries(inactive).filter(([name]) => !name.startsWith(prefix));
  const own = Object.entries(secrets).map(([name, secret]) => [prefix + name, secret] as const);
  return Object.fromEntries([...others, ...own]);
}
