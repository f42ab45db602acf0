import type { ManagedKeys } from '../../apps/managed-keys.ts';
import { currentTime } from '../../common/clock.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { addPendingKey, findPendingKey } from '../credentials/key-states.ts';
import type { ConnectionDeps } from '../deps.ts';
import { changeKeys, type KeyChangeActor } from './change-keys.ts';
import { withNextPrivateKey } from './next-private-key.ts';
import { nextAttempt } from './rotation-schedule.ts';

/**
 * Makes a new key for a connection with a key of this server, and publishes it beside the old one, which stays in use. If
 * there is a new key already, that one is kept, so several servers make one.
 *
 * @param isWanted whether the connection, as it is then, needs a new key
 * @returns the connection; undefined if it was deleted
 */
export async function startRotation(
  deps: ConnectionDeps,
  managedKeys: ManagedKeys,
  target: { orgId: string; id: string },
  actor: KeyChangeActor,
  isWanted: (connection: AppConnection) => boolean = () => true,
): Promise<AppConnection | undefined> {
  const pair = await managedKeys.generate();
  return changeKeys(deps, target, actor, (connection, credentials) => {
    if (findPendingKey(connection) || !isWanted(connection)) return undefined;
    const now = currentTime();
    const mayRemove = managedKeys.mayRegister?.(credentials) ?? false;
    return {
      action: 'ROTATE_CONNECTION_KEY',
      keyId: pair.publicKey.keyId,
      fields: ['credentials.keys'],
      columns: { keys: addPendingKey(connection, pair, mayRemove, now), keysDueAt: nextAttempt(now, now) },
      credentials: withNextPrivateKey(credentials, pair),
    };
  });
}
