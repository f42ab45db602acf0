import type { EntityManager } from '@mikro-orm/postgresql';
import type { App, AuthMethod, Credentials } from '../../apps/app.ts';
import type { EncryptionContext } from '../../encryption/vault.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { getHost } from './host.ts';

/** The columns of a connection that hold its credentials. */
export type CredentialColumns = Pick<
  AppConnection,
  'publicCredentials' | 'sealedCredentials' | 'dataKeyId' | 'credentialsHash'
>;

/** Encrypts credentials for a connection under the active data key of its organisation. */
export async function sealCredentials(
  { database, vault }: Pick<ConnectionDeps, 'database' | 'vault'>,
  owner: { app: App; method: AuthMethod; orgId: string; connectionId: string },
  credentials: Credentials,
): Promise<CredentialColumns> {
  const { app, method, orgId, connectionId: id } = owner;
  const em = database.forOrganisation(orgId);
  const context = encryptionContext(
    { id, orgId, app: app.id, publicCredentials: credentials.public },
    method,
  );
  const sealed = await vault.seal(em, context, credentials.secret);
  return {
    publicCredentials: credentials.public,
    sealedCredentials: sealed.text,
    dataKeyId: sealed.dataKeyId,
    credentialsHash: await vault.mac(em, orgId, 'FINGERPRINT', {
      ...credentials.public,
      ...credentials.secret,
      app: app.id,
      method: method.id,
    }),
  };
}

/** Connections that a transaction has stored, with the credentials that are sealed in them. */
type StoredCredentials = readonly { connection: AppConnection; credentials: Credentials }[];

/**
 * Encrypts stored credentials again if their data key was retired before the transaction of `em` stored them. Call it
 * after the rows are stored: from then on their foreign key locks the data key, so a rotation that retires the key
 * later waits for this transaction (see reencrypt.ts), and one that retired it earlier is seen here.
 *
 * @param retiredKeys the rows of `retiredKeysQuery`, if that query has already run after the rows were stored
 */
export async function resealIfKeyRetired(
  deps: Pick<ConnectionDeps, 'apps' | 'vault'>,
  em: EntityManager,
  stored: StoredCredentials,
  retiredKeys?: readonly object[],
): Promise<void> {
  let affected = withRetiredKey(stored, retiredKeys ?? (await selectRetiredKeys(deps, em, stored)));
  // The next key can be retired meanwhile as well, so the result is checked again.
  while (affected.length > 0) {
    for (const { connection, credentials } of affected) {
      deps.vault.invalidateSealKey(connection.orgId);
      const context = encryptionContext(connection, resolveAppAndMethod(deps, connection).method);
      const { text, dataKeyId } = await deps.vault.seal(em, context, credentials.secret);
      const sealed = { sealedCredentials: text, dataKeyId };
      const macs = await deps.vault.rowMacs(em);
      const columns = { ...sealed, mac: macs.signed(em, AppConnection, { ...connection, ...sealed }).mac };
      await em.nativeUpdate(AppConnection, { id: connection.id }, columns);
      Object.assign(connection, columns);
    }
    affected = withRetiredKey(affected, await selectRetiredKeys(deps, em, affected));
  }
}

/** The credentials were replaced or removed after they were read, and the data key of the old ones is destroyed. */
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
): Promise<Credentials> {
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
  const secret = await deps.vault.open(em, context, sealed, reload);
  return { public: publicCredentials, secret };
}

/** The context to which the encrypted credentials of a connection are bound. */
export function encryptionContext(
  connection: Pick<AppConnection, 'id' | 'orgId' | 'app' | 'publicCredentials'>,
  method: AuthMethod,
): EncryptionContext {
  const { id: connectionId, orgId, app, publicCredentials } = connection;
  return { orgId, connectionId, app, method: method.id, host: getHost(method, publicCredentials) };
}

async function selectRetiredKeys(
  { vault }: Pick<ConnectionDeps, 'vault'>,
  em: EntityManager,
  stored: StoredCredentials,
): Promise<object[]> {
  const { sql, params } = vault.retiredKeysQuery(stored.map(({ connection }) => connection.dataKeyId));
  return em.execute<object[]>(sql, [...params]);
}

function withRetiredKey(stored: StoredCredentials, retiredKeys: readonly object[]): StoredCredentials {
  const ids = new Set((retiredKeys as readonly { id: string }[]).map(({ id }) => id));
  return stored.filter(({ connection }) => ids.has(connection.dataKeyId));
}
