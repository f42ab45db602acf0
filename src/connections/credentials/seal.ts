import type { EntityManager } from '@mikro-orm/postgresql';
import type { App, AuthMethod } from '../../apps/app.ts';
import type { Credentials } from '../../apps/credentials.ts';
import { canonicalJson } from '../../common/canonical-json.ts';
import type { Secret } from '../../common/secret.ts';
import type { EncryptionContext } from '../../encryption/sealed-secrets.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { getHost } from './host.ts';
import { findPendingKey } from './key-states.ts';

/** The columns of a connection that hold its credentials. */
export type CredentialColumns = Pick<
  AppConnection,
  'publicCredentials' | 'sealedCredentials' | 'dataKeyId' | 'credentialsHash'
>;

/** Credentials as they are encrypted in a connection. */
export interface StoredCredentials extends Credentials {
  /** Secrets that are encrypted with the credentials and not in use, by names with a dot: `conversion.privateKey`. */
  inactive?: Readonly<Record<string, Secret>>;
}

/** Returns every secret that is encrypted in a connection. */
export function allSecrets({ secret, inactive }: StoredCredentials): Readonly<Record<string, Secret>> {
  return { ...secret, ...inactive };
}

/** Encrypts credentials for a connection under the active data key of its organisation. */
export async function sealCredentials(
  { database, vault }: Pick<ConnectionDeps, 'database' | 'vault'>,
  owner: { app: App; method: AuthMethod; orgId: string; connectionId: string },
  credentials: StoredCredentials,
): Promise<CredentialColumns> {
  const { app, method, orgId, connectionId: id } = owner;
  const em = database.forOrganisation(orgId);
  const context = encryptionContext(
    { id, orgId, app: app.id, publicCredentials: credentials.public },
    method,
  );
  const sealed = await vault.seal(em, context, allSecrets(credentials));
  return {
    publicCredentials: credentials.public,
    sealedCredentials: sealed.text,
    dataKeyId: sealed.dataKeyId,
    credentialsHash: await hashCredentials({ database, vault }, owner, credentials),
  };
}

/** Returns `AppConnection.credentialsHash`: equal for two connections of an organisation only if their credentials are the same. */
export function hashCredentials(
  { database, vault }: Pick<ConnectionDeps, 'database' | 'vault'>,
  { app, method, orgId }: { app: App; method: AuthMethod; orgId: string },
  credentials: Credentials,
): Promise<string> {
  return vault.mac(database.forOrganisation(orgId), orgId, 'FINGERPRINT', {
    ...credentials.public,
    ...credentials.secret,
    app: app.id,
    method: method.id,
  });
}

/**
 * Encrypts the credentials of a connection again if they are not encrypted under the active data key, because a rotation has
 * replaced the key since.
 *
 * @param activeKeyId `TrailState.sealKeyId`
 * @returns the columns that change
 */
export async function sealUnderKey(
  deps: Pick<ConnectionDeps, 'apps' | 'vault'>,
  em: EntityManager,
  activeKeyId: string | null,
  connection: Omit<AppConnection, 'mac'>,
  credentials: StoredCredentials,
): Promise<Pick<AppConnection, 'sealedCredentials' | 'dataKeyId'>> {
  const { sealedCredentials, dataKeyId } = connection;
  if (dataKeyId === activeKeyId) return { sealedCredentials, dataKeyId };
  deps.vault.invalidateSealKey(connection.orgId);
  const context = encryptionContext(connection, resolveAppAndMethod(deps, connection).method);
  const sealed = await deps.vault.seal(em, context, allSecrets(credentials));
  return { sealedCredentials: sealed.text, dataKeyId: sealed.dataKeyId };
}

/** The credentials were replaced or removed after they were read, or secrets that are encrypted with them were. */
export class CredentialsReplaced extends Error {
  override readonly name = 'CredentialsReplaced';
}

/** Runs a task that reads a connection and decrypts its credentials, and again if they are replaced in between. */
export async function retryIfReplaced<T>(task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (!(error instanceof CredentialsReplaced)) throw error;
    return task();
  }
}

/**
 * Decrypts the credentials of a stored connection.
 *
 * @param connection loaded with `sealedCredentials` and `mac`
 * @throws MacMismatch if the row was changed outside this server
 * @throws DecryptionError if the credentials cannot be decrypted
 * @throws CredentialsReplaced if other credentials were stored since the connection was read, and its data key is destroyed
 */
export async function openCredentials(
  deps: Pick<ConnectionDeps, 'apps' | 'database' | 'vault'>,
  em: EntityManager,
  connection: AppConnection,
): Promise<StoredCredentials> {
  const macs = await deps.vault.rowMacs(em);
  macs.verify(em, AppConnection, connection);
  const { id, orgId, credentialsHash, publicCredentials, sealedCredentials, dataKeyId } = connection;
  const context = encryptionContext(connection, resolveAppAndMethod(deps, connection).method);
  const reload = async () => {
    // A new EntityManager: the old one returns the object that it has already read.
    const fresh = deps.database.forOrganisation(orgId);
    const populate = ['sealedCredentials', 'mac'] as const;
    const current = await fresh.findOne(AppConnection, { id, orgId, credentialsHash }, { populate });
    if (!current) throw new CredentialsReplaced('The credentials were replaced after they were read.');
    macs.verify(fresh, AppConnection, current);
    return { text: current.sealedCredentials, dataKeyId: current.dataKeyId };
  };
  const sealed = { text: sealedCredentials, dataKeyId };
  const opened = Object.entries(await deps.vault.open(em, context, sealed, reload));
  const isInactive = ([name]: [string, Secret]) => name.includes('.');
  return {
    public: publicCredentials,
    secret: Object.fromEntries(opened.filter((each) => !isInactive(each))),
    inactive: Object.fromEntries(opened.filter(isInactive)),
  };
}

/** Whether secrets that are not in use are encrypted with the credentials of a connection. */
export function hasInactiveSecrets({ conversion, revocations, keys }: AppConnection): boolean {
  return conversion != null || revocations != null || findPendingKey({ keys }) !== undefined;
}

/**
 * Checks that a connection has the method and the inactive secrets that it had when its credentials were opened, so that new
 * credentials of that method can be stored with them.
 *
 * @throws CredentialsReplaced
 */
export function assertSameInactiveSecrets(connection: AppConnection, before: AppConnection): void {
  const describe = ({ method, conversion, revocations, keys }: AppConnection) =>
    canonicalJson({ method, conversion, revocations, key: findPendingKey({ keys })?.keyId });
  if (describe(connection) === describe(before)) return;
  throw new CredentialsReplaced(
    'The method, or secrets that are encrypted with the credentials were replaced.',
  );
}

/**
 * Checks that a connection has the credentials and the inactive secrets that it had when they were opened.
 *
 * @throws CredentialsReplaced
 */
export function assertSameCredentials(connection: AppConnection, before: AppConnection): void {
  assertSameInactiveSecrets(connection, before);
  if (connection.credentialsHash === before.credentialsHash) return;
  throw new CredentialsReplaced('The credentials were replaced after they were opened.');
}

/** The context to which the encrypted credentials of a connection are bound. */
export function encryptionContext(
  connection: Pick<AppConnection, 'id' | 'orgId' | 'app' | 'publicCredentials'>,
  method: AuthMethod,
): EncryptionContext {
  const { id: connectionId, orgId, app, publicCredentials } = connection;
  return { orgId, connectionId, app, method: method.id, host: getHost(method, publicCredentials) };
}
