import type { PublicKey } from '../../apps/managed-keys.ts';
import { currentTime } from '../../common/clock.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { listPublishedKeys } from '../credentials/key-states.ts';
import type { ConnectionDeps } from '../deps.ts';

/**
 * Returns the public keys of a connection of any organisation, for apps that fetch keys: none if it does not exist, is
 * deleted, has no key pair, or was changed outside this server. Keys that were retired long ago are not among them. A key that
 * an attacker added to a row would let that attacker sign in to the app.
 */
export async function getPublishedKeys(
  { database, vault }: Pick<ConnectionDeps, 'database' | 'vault'>,
  id: string,
): Promise<PublicKey['publicJwk'][]> {
  const em = database.asSystemForUnauthenticated();
  const connection = await em.findOne(
    AppConnection,
    { id, deletedAt: null },
    { populate: ['sealedCredentials', 'mac'] },
  );
  if (!connection) return [];
  const macs = await vault.rowMacs(em);
  if (!macs.isAuthentic(em, AppConnection, connection)) return [];
  const keys = [...listPublishedKeys(connection, currentTime()), ...(connection.conversion?.keys ?? [])];
  return keys.map(({ publicJwk }) => publicJwk);
}
