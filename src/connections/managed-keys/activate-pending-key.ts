import type { VerificationResult } from '../../apps/credentials.ts';
import { currentTime } from '../../common/clock.ts';
import type { Outbound } from '../../outbound/outbound.ts';
import { noExpiry } from '../credentials/expiry.ts';
import { activatePendingKey, findPendingKey } from '../credentials/key-states.ts';
import { retryIfReplaced } from '../credentials/seal.ts';
import { verifyWithSession } from '../credentials/sessions.ts';
import { clearedFailure, verificationColumns } from '../credentials/verify.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { budgetedOutbound } from '../rate-budget/budgeted-outbound.ts';
import { changeKeys, type KeyChangeActor, readWithCredentials } from './change-keys.ts';
import { withPendingKey } from './next-private-key.ts';
import { removalTime } from './rotation-schedule.ts';

/**
 * Verifies the credentials of a connection with its pending key, and lets that key replace the active one if the app accepts
 * them. Otherwise the active key stays in use, and nothing is stored.
 *
 * @param signal aborts when the client disconnects or the server stops
 * @returns the result with the pending key; undefined if there is none
 * @throws AppError, OutboundError as the verification of the method does
 */
export async function tryPendingKey(
  deps: ConnectionDeps,
  target: { orgId: string; id: string },
  actor: KeyChangeActor,
  outbound: Outbound,
  signal?: AbortSignal,
): Promise<VerificationResult | undefined> {
  const opened = await retryIfReplaced(() => readWithCredentials(deps, target));
  const pending = opened && findPendingKey(opened.connection);
  if (!pending) return undefined;
  const { connection: tried, credentials } = opened;
  const { app, method } = resolveAppAndMethod(deps, tried);
  const next = method.managedKeys && withPendingKey(method.managedKeys, credentials);
  if (!next) return undefined;
  const budgeted = budgetedOutbound(deps.budgets, tried, { app, method }, next, outbound);
  const owner = { app, method, orgId: target.orgId };
  const options = { signal, connectionId: target.id };
  const result = await verifyWithSession(deps, owner, next, budgeted, options);
  if (result.status !== 'VERIFIED') return result;
  await changeKeys(deps, target, actor, (connection, stored) => {
    // Another server was first, or the app has accepted the key together with other public values.
    if (findPendingKey(connection)?.keyId !== pending.keyId) return undefined;
    if (connection.credentialsHash !== tried.credentialsHash) return undefined;
    const { managedKeys } = method;
    const accepted = managedKeys && withPendingKey(managedKeys, stored);
    if (!accepted) return undefined;
    const now = currentTime();
    const verification = verificationColumns(method, result, now, connection);
    return {
      action: 'ACTIVATE_CONNECTION_KEY',
      keyId: pending.keyId,
      fields: [
        ...['credentials.keys', `credentials.${managedKeys.privateKeyField}`, 'verification'],
        ...clearedFailure(connection, verification),
      ],
      columns: {
        ...verification,
        ...noExpiry,
        keys: activatePendingKey(connection, managedKeys.mayRegister?.(stored) ?? false, now),
        keyRegistrationFailure: null,
        keysDueAt: managedKeys.register ? removalTime({ retiredAt: now.toISOString() }) : null,
      },
      credentials: accepted,
    };
  });
  return result;
}
