import type { KeyRegistration, KeysToRegister } from '../../apps/managed-keys.ts';
import { serverActor } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import type { Outbound } from '../../outbound/outbound.ts';
import type { AppConnection, ConnectionKey } from '../app-connection.entity.ts';
import { findPendingKey, listRetiredKeys } from '../credentials/key-states.ts';
import { retryIfReplaced } from '../credentials/seal.ts';
import { findSession } from '../credentials/sessions.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { budgetedOutbound } from '../rate-budget/budgeted-outbound.ts';
import { changeKeys, type KeyChangeActor, readWithCredentials } from './change-keys.ts';
import { isRemovable, nextAttempt, removalTime } from './rotation-schedule.ts';
import { storeRegistration } from './store-registration.ts';

type Target = { orgId: string; id: string };

interface Requests {
  outbound: Outbound;
  signal: AbortSignal | undefined;
  /** Whether the outcome is not stored, so that the connection keeps the failure that it has. */
  keepsFailure?: boolean;
}

/**
 * Adds the pending key of a connection at the app, with the credentials in use, if these may do that. Otherwise a person adds it,
 * or the app fetches it.
 *
 * @returns whether that has failed and is tried again
 * @throws AppError, OutboundError if this server cannot send the requests
 */
export async function registerPendingKey(
  deps: ConnectionDeps,
  target: Target,
  actor: KeyChangeActor,
  outbound: Outbound,
  signal?: AbortSignal,
): Promise<boolean> {
  const outcome = await register(deps, target, actor, { outbound, signal }, (connection) => {
    const pending = findPendingKey(connection);
    return pending && { add: pending };
  });
  return outcome?.status === 'FAILED';
}

/**
 * Removes the keys of a connection that others have replaced at the app, if its credentials may do that, and then forgets them. A
 * failure is stored, and tried again for as long as it lasts.
 *
 * @returns when there is more to remove; null if there is nothing, or if a person has to do it
 * @throws AppError, OutboundError if this server cannot send the requests
 */
export async function removeRetiredKeys(
  deps: ConnectionDeps,
  target: Target,
  requests: Requests,
): Promise<Date | null> {
  const now = currentTime();
  let retired: ConnectionKey[] = [];
  let unused: ConnectionKey[] = [];
  const outcome = await register(deps, target, serverActor, requests, (connection) => {
    retired = listRetiredKeys(connection);
    unused = retired.filter((key) => isRemovable(key, now));
    return unused.length > 0 ? { remove: unused.map(({ keyId }) => keyId) } : undefined;
  });
  if (outcome?.status === 'DONE') for (const { keyId } of unused) await forgetKey(deps, target, keyId);
  const [next = null] = retired
    .filter((key) => !unused.includes(key))
    .map(removalTime)
    .sort((left, right) => left.getTime() - right.getTime());
  const [failed] = outcome?.status === 'FAILED' ? unused : [];
  return failed ? nextAttempt(removalTime(failed), now) : next;
}

/** @returns undefined if there is nothing to register, or if the method cannot */
async function register(
  deps: ConnectionDeps,
  target: Target,
  actor: KeyChangeActor,
  { outbound, signal, keepsFailure }: Requests,
  choose: (connection: AppConnection) => KeysToRegister | undefined,
): Promise<KeyRegistration | undefined> {
  const opened = await retryIfReplaced(() => readWithCredentials(deps, target));
  if (!opened) return undefined;
  const { connection, credentials } = opened;
  const { app, method } = resolveAppAndMethod(deps, connection);
  const { managedKeys } = method;
  const keys = managedKeys?.register && choose(connection);
  if (!keys) return undefined;
  const budgeted = budgetedOutbound(deps.budgets, connection, { app, method }, credentials, outbound);
  const { id: connectionId, credentialsHash } = connection;
  const session = findSession(deps, method, { connectionId, credentialsHash }, credentials);
  const result = await managedKeys.register?.(credentials, keys, budgeted, signal, session);
  if (result && !keepsFailure) await storeRegistration(deps, connection, actor, keys, result);
  return result;
}

async function forgetKey(deps: ConnectionDeps, target: Target, keyId: string): Promise<void> {
  await changeKeys(deps, target, serverActor, ({ keys }) => {
    if (!keys?.some((key) => key.keyId === keyId && key.state === 'RETIRED')) return undefined;
    return {
      action: 'REMOVE_CONNECTION_KEY',
      keyId,
      fields: ['credentials.keys'],
      columns: { keys: keys.filter((key) => key.keyId !== keyId) },
    };
  });
}
