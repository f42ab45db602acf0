import type { AuthMethod } from '../../apps/app.ts';
import type { Credentials } from '../../apps/credentials.ts';
import { currentTime } from '../../common/clock.ts';
import type { AppConnection, StoredKeyFailure } from '../app-connection.entity.ts';
import { listRetiredKeys } from './key-states.ts';
import { isUntried } from './keys.ts';
import { addRevocation } from './revocation.ts';
import type { StoredCredentials } from './seal.ts';

/** What is stored about keys that stay at a client of the app. */
export interface FormerKeys {
  columns: Partial<AppConnection>;
  /** The names of the changed fields. */
  fields: string[];
  /** The inactive secrets; absent if they stay the same. */
  inactive?: NonNullable<StoredCredentials['inactive']>;
}

/** Whether new credentials belong to another client of the app, which has keys of its own. */
export function isOtherClient(
  { managedKeys }: AuthMethod,
  before: Pick<AppConnection, 'publicCredentials'>,
  shown: Credentials['public'],
): boolean {
  const field = managedKeys?.client?.field;
  return field !== undefined && before.publicCredentials[field] !== shown[field];
}

/**
 * Prepares the removal of the keys of this server at the client of the app that new credentials leave. If the old credentials may not
 * remove them, a person has to, and the connection says so.
 *
 * @param method that of the connection before
 * @param stored the opened credentials of `before`
 * @returns undefined if there are none
 */
export function leaveKeys(
  method: AuthMethod,
  before: AppConnection,
  stored: StoredCredentials,
  shown: Credentials['public'],
): FormerKeys | undefined {
  const { managedKeys } = method;
  const keys = before.isPlatformManagedCredentials ? (before.keys ?? []) : listRetiredKeys(before);
  if (!managedKeys?.client || keys.length === 0 || isUntried(before)) return undefined;
  if (!isOtherClient(method, before, shown)) return undefined;
  const keyIds = keys.map(({ keyId }) => keyId);
  if (managedKeys.mayRegister?.(stored))
    return { ...addRevocation(before, stored, keyIds), fields: ['revocation'] };
  const failure = managedKeys.client.describeLeft(before.publicCredentials, keyIds);
  return {
    columns: { keyRegistrationFailure: toStoredFailure(failure) },
    fields: ['credentials.keyRegistrationFailure'],
  };
}

/** Converts a failure that was found now to the column of a connection. */
export function toStoredFailure({
  code,
  message,
  remedy,
}: Omit<StoredKeyFailure, 'since'>): StoredKeyFailure {
  return { since: currentTime().toISOString(), code, message, remedy };
}
