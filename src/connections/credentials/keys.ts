import type { App, AuthMethod } from '../../apps/app.ts';
import type { Credentials } from '../../apps/credentials.ts';
import { InvalidKeyError, type KeyPair, type ManagedKeys } from '../../apps/managed-keys.ts';
import { currentTime } from '../../common/clock.ts';
import { type Issue, validationError } from '../../common/errors.ts';
import type { AppConnection, ConnectionKey } from '../app-connection.entity.ts';
import { conversionName } from '../convert-input.ts';
import { listAwaitedFields } from '../deferrable-fields.ts';
import type { ConnectionDeps } from '../deps.ts';
import type { UpdateConnection } from '../update-input.ts';
import { noExpiry } from './expiry.ts';
import { listPublishedKeys, listRetiredKeys } from './key-states.ts';
import type { VerificationColumns } from './verify.ts';

/** The columns of a connection about its key pair. */
export type KeyColumns = Pick<AppConnection, 'keys' | 'isPlatformManagedCredentials'>;

/** Whether this server has to make the private key of new credentials. */
export function needsKeyPair({ managedKeys }: AuthMethod, { secret }: Credentials): boolean {
  return managedKeys !== undefined && secret[managedKeys.privateKeyField] === undefined;
}

/**
 * Makes the key pair of new credentials, or reads the one of the caller. Credentials without key pairs stay the same.
 *
 * @param path the path of the credentials in the input
 * @throws AppError `BAD_USER_INPUT` if the private key of the caller cannot be used, or if only its id is given
 */
export async function prepareKeys(
  method: AuthMethod,
  credentials: Credentials,
  path: readonly string[] = ['credentials'],
): Promise<{ credentials: Credentials; columns: KeyColumns }> {
  const { managedKeys } = method;
  if (!managedKeys) return { credentials, columns: { keys: null, isPlatformManagedCredentials: false } };
  const isPlatformManagedCredentials = needsKeyPair(method, credentials);
  if (isPlatformManagedCredentials) assertNoKeyId(managedKeys, credentials, path);
  const pair = isPlatformManagedCredentials
    ? await managedKeys.generate()
    : await readKeyPair(managedKeys, credentials, path);
  return {
    credentials: {
      ...credentials,
      secret: { ...credentials.secret, [managedKeys.privateKeyField]: pair.privateKey },
    },
    columns: { keys: [toActiveKey(pair)], isPlatformManagedCredentials },
  };
}

function assertNoKeyId(
  { keyIdField }: ManagedKeys,
  { public: shown }: Credentials,
  path: readonly string[],
): void {
  if (keyIdField === undefined || shown[keyIdField] === undefined) return;
  const message =
    'A key id belongs to a private key of your own. Remove it, and this server makes the key and its id; or give the private key too.';
  throw validationError([{ path: [...path, keyIdField], message }]);
}

async function readKeyPair(
  managedKeys: ManagedKeys,
  credentials: Credentials,
  path: readonly string[] = ['credentials'],
): Promise<KeyPair> {
  try {
    return await managedKeys.read(credentials);
  } catch (error) {
    if (!(error instanceof InvalidKeyError)) throw error;
    throw validationError([{ path: [...path, managedKeys.privateKeyField], message: error.message }]);
  }
}

function toActiveKey({ publicKey }: KeyPair): ConnectionKey {
  return { ...publicKey, createdAt: currentTime().toISOString(), state: 'ACTIVE' };
}

/** The issues of an update that sets or clears the key of a connection, which keeps the kind of key that it has. */
export function findKeyIssues(
  app: App,
  { id, managedKeys }: AuthMethod,
  { isPlatformManagedCredentials }: Pick<AppConnection, 'isPlatformManagedCredentials'>,
  { credentials }: UpdateConnection,
): Issue[] {
  if (!managedKeys || !credentials) return [];
  const { privateKeyField, keyIdField } = managedKeys;
  const isConvertible = app.convertsTo === id;
  if (!isPlatformManagedCredentials) {
    if (credentials[privateKeyField] !== null) return [];
    const remedy = isConvertible ? `use ${conversionName(app)}` : 'create another connection';
    const message = `The private key cannot be removed. To have this server make the keys, ${remedy} without a private key.`;
    return [{ path: ['credentials', privateKeyField], message }];
  }
  const message =
    'This server made the key of this connection and replaces it itself, so that nobody ever has it. It cannot be set. ' +
    `To use a key of your own, ${isConvertible ? `use ${conversionName(app)}` : 'create another connection'} with it.`;
  return [privateKeyField, ...(keyIdField ? [keyIdField] : [])]
    .filter((name) => credentials[name] != null)
    .map((name) => ({ path: ['credentials', name], message }));
}

/**
 * Reads the key pair of changed credentials.
 *
 * @param fields the names of the changed fields
 * @throws AppError `BAD_USER_INPUT` if the private key cannot be used
 */
export async function prepareChangedKeys(
  { managedKeys }: AuthMethod,
  before: AppConnection,
  { credentials, fields }: { credentials: Credentials; fields: readonly string[] },
): Promise<{ credentials: Credentials; columns: Partial<KeyColumns> }> {
  if (!managedKeys || before.isPlatformManagedCredentials) return { credentials, columns: {} };
  const { privateKeyField, keyIdField } = managedKeys;
  if (!fields.some((name) => name === privateKeyField || name === keyIdField))
    return { credentials, columns: {} };
  const pair = await readKeyPair(managedKeys, credentials);
  const secret = { ...credentials.secret, [privateKeyField]: pair.privateKey };
  // Those that this server has made and not removed at the app yet.
  const retired = listRetiredKeys(before);
  return { credentials: { ...credentials, secret }, columns: { keys: [...retired, toActiveKey(pair)] } };
}

/** Whether a connection has a key of this server that the app has not accepted yet. */
export function isUntried({
  isPlatformManagedCredentials,
  lastVerifiedAt,
}: Pick<AppConnection, 'isPlatformManagedCredentials' | 'lastVerifiedAt'>): boolean {
  return isPlatformManagedCredentials && lastVerifiedAt == null;
}

/** What a connection says until it can be verified, or until the app knows its key. */
export function describePending(
  method: AuthMethod,
  shown: Credentials['public'],
): { message: string; remedy: string } | undefined {
  const awaited = listAwaitedFields(method, shown);
  if (awaited.length === 0) return method.managedKeys?.pending;
  const names = awaited.map((label) => `“${label}”`).join(', ');
  return {
    message: `This connection cannot be verified yet: it has no value for ${names}.`,
    remedy:
      'Update the connection with it, or create a setup link: the person who administers the app enters it on the page of ' +
      'the link.',
  };
}

/** The verification columns of a connection whose key the app does not know yet. */
export function pendingColumns(method: AuthMethod, shown: Credentials['public']): VerificationColumns {
  const { message = null, remedy = null } = describePending(method, shown) ?? {};
  return {
    verificationStatus: 'PENDING',
    verificationCheckedAt: null,
    verificationCode: null,
    verificationMessage: message,
    verificationRemedy: remedy,
    upstreamRequestId: null,
    lastVerifiedAt: null,
    failingSince: null,
    account: null,
    verificationDetails: null,
    nextCheckAt: null,
    checkDelay: null,
    ...noExpiry,
  };
}

/** The path of the public keys of a connection, below the URL of this server. */
function jwksPath(connectionId: string): string {
  return `/.well-known/app-connections/${connectionId}/jwks.json`;
}

/** The URL at which this server publishes the public keys of a connection. */
export function getJwksUrl(
  { getPublicUrl }: Pick<ConnectionDeps, 'getPublicUrl'>,
  { id }: Pick<AppConnection, 'id'>,
): string {
  return getPublicUrl() + jwksPath(id);
}

/** The keys of a connection as callers see them. The first one is pending until the app has accepted it. */
export function describeKeys(connection: AppConnection): ConnectionKey[] {
  const keys = listPublishedKeys(connection, currentTime());
  if (!isUntried(connection)) return keys;
  return keys.map((key) => ({ ...key, state: 'PENDING' }));
}
