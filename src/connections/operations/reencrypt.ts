import { DecryptionError } from '../../encryption/jwe.ts';
import { MacMismatch } from '../../encryption/row-macs.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { allSecrets, CredentialsReplaced, encryptionContext, openCredentials } from '../credentials/seal.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';

/** The dependencies of re-encryption. */
export type ReencryptDeps = Pick<ConnectionDeps, 'apps' | 'database' | 'vault'>;

/** The result for one connection: `changed` if it was changed or removed concurrently, `broken` if it cannot be decrypted. */
type ReencryptionResult = 'reencrypted' | 'changed' | 'broken';

/** A batch is re-encrypted concurrently, so it must be smaller than the connection pool of the database. */
const batchSize = 8;
const firstId = '00000000-0000-0000-0000-000000000000';

/**
 * Re-encrypts every connection under a retired data key, deleted ones included, under the active one. Version, times and
 * hash stay the same. It can be interrupted and started again, and connections can be used and changed meanwhile.
 *
 * At the end, only broken connections are left under the retired key, and no others can be added:
 * 1. Rotation marks the key as retired, and appends an event in the same transaction.
 * 2. Each change is stored on condition that the trail has not grown since the active key was read (see `sealUnderKey`). So
 *    one that uses the retired key was stored before that transaction, and is visible now.
 * 3. Servers of earlier versions insert or update the row first, whose foreign key takes a share lock on the data key, and
 *    then check the key. `waitForWriters` waits for the share locks.
 * A connection that is changed during one pass is re-encrypted in the next.
 *
 * @param onProgress is called after each batch with the number of re-encrypted connections
 * @returns the ids of the connections that cannot be decrypted, or whose app this server does not have; they stay the same
 */
export async function reencryptConnections(
  deps: ReencryptDeps,
  dataKeyId: string,
  onProgress: (reencrypted: number) => void,
): Promise<string[]> {
  await waitForWriters(deps, dataKeyId);
  for (;;) {
    const broken: string[] = [];
    let hasChanged = false;
    for (let after = firstId, length = batchSize; length === batchSize; ) {
      const batch = await deps.database
        .asSystem()
        .find(
          AppConnection,
          { dataKeyId, id: { $gt: after } },
          { populate: ['sealedCredentials', 'mac'], orderBy: { id: 'asc' }, limit: batchSize },
        );
      const results = await Promise.all(batch.map((connection) => reencrypt(deps, connection)));
      hasChanged ||= results.includes('changed');
      broken.push(...batch.filter((_, index) => results[index] === 'broken').map(({ id }) => id));
      onProgress(results.filter((result) => result === 'reencrypted').length);
      length = batch.length;
      after = batch.at(-1)?.id ?? after;
    }
    if (!hasChanged) return broken;
  }
}

/** Waits until every open transaction that has stored a row under this data key has ended. */
async function waitForWriters({ database }: ReencryptDeps, dataKeyId: string): Promise<void> {
  await database.asSystem().execute('select from data_key where id = ? for update', [dataKeyId]);
}

async function reencrypt(deps: ReencryptDeps, connection: AppConnection): Promise<ReencryptionResult> {
  const { id, mac } = connection;
  if (!hasKnownApp(deps, connection)) return 'broken';
  const em = deps.database.asSystem();
  try {
    const credentials = await openCredentials(deps, em, connection);
    const context = encryptionContext(connection, resolveAppAndMethod(deps, connection).method);
    // The cached key may have been retired as well, and this function does not check it afterwards.
    deps.vault.invalidateSealKey(connection.orgId);
    const sealed = await deps.vault.seal(em, context, allSecrets(credentials));
    // The MAC covers every column that matters, so it identifies the version of the row.
    const unchanged = { id, mac };
    const columns = { sealedCredentials: sealed.text, dataKeyId: sealed.dataKeyId };
    const signed = (await deps.vault.rowMacs(em)).signed(em, AppConnection, { ...connection, ...columns });
    return (await em.nativeUpdate(AppConnection, unchanged, { ...columns, mac: signed.mac })) === 1
      ? 'reencrypted'
      : 'changed';
  } catch (error) {
    if (error instanceof CredentialsReplaced) return 'changed';
    if (error instanceof DecryptionError || error instanceof MacMismatch) return 'broken';
    throw error;
  }
}

function hasKnownApp({ apps }: ReencryptDeps, { app, method }: AppConnection): boolean {
  return apps.some(({ id, methods }) => id === app && methods.some((candidate) => candidate.id === method));
}
