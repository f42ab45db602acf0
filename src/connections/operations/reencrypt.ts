import { MacMismatch } from '../../encryption/row-macs.ts';
import { DecryptionError } from '../../encryption/vault.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { encryptionContext, openCredentials } from '../credentials/seal.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';

/** What sealing again takes. */
export type ReencryptDeps = Pick<ConnectionDeps, 'apps' | 'database' | 'vault'>;

/** What came of sealing one connection again; `changed` when it was changed or removed meanwhile. */
type ReencryptionResult = 'resealed' | 'changed' | 'broken';

/** All of a batch are at work at once, so it has to be smaller than the pool of connections to the database. */
const batchSize = 8;
const firstId = '00000000-0000-0000-0000-000000000000';

/**
 * Seals every connection that is sealed under a retired data key again, under the one that has taken over; deleted ones
 * too. That is no change of a connection: version, times and hash stay. It may be cut off at any moment and begun anew,
 * and anybody may use and change the connections meanwhile.
 *
 * At the end, nothing but what does not open is left under the data key, and nothing can come back to it: whoever stores
 * what was sealed before the key was retired looks, once the row is there, whether it is retired by now; and from the
 * row's foreign key on they hold a lock on the data key. So after `waitForWriters`, those who found it active have
 * committed, and all others find it retired and seal again themselves. What a pass could not seal again, because
 * somebody was changing it at that moment, the next one finds as it is then.
 *
 * @param tell is called after each batch with how many connections were sealed again
 * @returns the ids of the connections that do not open, or whose app is not here; they stay as they are
 */
export async function reencryptConnections(
  deps: ReencryptDeps,
  dataKeyId: string,
  tell: (resealed: number) => void,
): Promise<string[]> {
  await waitForWriters(deps, dataKeyId);
  for (;;) {
    const broken: string[] = [];
    let isAgain = false;
    for (let after = firstId, length = batchSize; length === batchSize; ) {
      const batch = await deps.database
        .asSystem()
        .find(
          AppConnection,
          { dataKeyId, id: { $gt: after } },
          { populate: ['sealedCredentials', 'mac'], orderBy: { id: 'asc' }, limit: batchSize },
        );
      const outcomes = await Promise.all(batch.map((connection) => reencrypt(deps, connection)));
      isAgain ||= outcomes.includes('changed');
      broken.push(...batch.filter((_, index) => outcomes[index] === 'broken').map(({ id }) => id));
      tell(outcomes.filter((outcome) => outcome === 'resealed').length);
      length = batch.length;
      after = batch.at(-1)?.id ?? after;
    }
    if (!isAgain) return broken;
  }
}

/** Waits until every transaction that has stored something under this data key, and has not ended yet, has ended. */
async function waitForWriters({ database }: ReencryptDeps, dataKeyId: string): Promise<void> {
  await database.asSystem().execute('select from data_key where id = ? for update', [dataKeyId]);
}

async function reencrypt(deps: ReencryptDeps, connection: AppConnection): Promise<ReencryptionResult> {
  const { id, mac } = connection;
  if (!isOfKnownApp(deps, connection)) return 'broken';
  const em = deps.database.asSystem();
  try {
    const { secret } = await openCredentials(deps, em, connection);
    const binding = encryptionContext(connection, resolveAppAndMethod(deps, connection).method);
    // Nobody looks afterwards whether this one has been retired too.
    deps.vault.forgetSealKey(connection.orgId);
    const sealed = await deps.vault.seal(em, binding, secret);
    // The MAC is that of all columns that decide something.
    const unchanged = { id, mac };
    const columns = { sealedCredentials: sealed.text, dataKeyId: sealed.dataKeyId };
    const signed = (await deps.vault.rowMacs(em)).signed(em, AppConnection, { ...connection, ...columns });
    return (await em.nativeUpdate(AppConnection, unchanged, { ...columns, mac: signed.mac })) === 1
      ? 'resealed'
      : 'changed';
  } catch (error) {
    if (error instanceof DecryptionError || error instanceof MacMismatch) return 'broken';
    throw error;
  }
}

function isOfKnownApp({ apps }: ReencryptDeps, { app, method }: AppConnection): boolean {
  return apps.some(({ id, methods }) => id === app && methods.some((each) => each.id === method));
}
