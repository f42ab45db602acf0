import { serverActor } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { safeErrorFields } from '../../common/log.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { tryPendingKey } from './activate-pending-key.ts';
import { registerPendingKey, removeRetiredKeys } from './register-keys.ts';
import { isRotationDue, nextAttempt, nextLook } from './rotation-schedule.ts';
import { startRotation } from './start-rotation.ts';

/**
 * Makes a new key for a connection if its active one is old enough, adds it at the app if the connection may do that, and uses it if
 * the app accepts it. Otherwise that is tried again later. Then the retired keys are removed at the app. Nothing is done twice if two
 * servers do this, or if one dies.
 *
 * @param days the age at which a key is replaced; 0 for never
 * @param signal aborts when the server stops; then it is tried again
 */
export async function rotateDue(
  deps: ConnectionDeps,
  target: { orgId: string; id: string },
  days: number,
  signal: AbortSignal,
): Promise<void> {
  const { orgId, id } = target;
  const before = await readConnection(deps, target);
  if (!before) return;
  // Unless all goes well.
  let removeAt: Date | null = nextAttempt(currentTime(), currentTime());
  try {
    const { managedKeys } = resolveAppAndMethod(deps, before).method;
    const isDue = (connection: AppConnection) =>
      connection.isPlatformManagedCredentials && isRotationDue(connection, days, currentTime());
    if (managedKeys && isDue(before)) await startRotation(deps, managedKeys, target, serverActor, isDue);
    const outbound = deps.outbound.onBehalfOf({ orgId, callerId: `${orgId} key rotations` });
    const isRefused = await registerPendingKey(deps, target, serverActor, outbound, signal);
    const result = await tryPendingKey(deps, target, serverActor, outbound, signal);
    // Why the new key waits matters more to a person than an old one, which is removed nevertheless: there may be too many.
    const keepsFailure = isRefused && result?.status !== 'VERIFIED';
    removeAt = await removeRetiredKeys(deps, target, { outbound, signal, keepsFailure });
  } catch (error) {
    if (signal.aborted) throw error;
    if (!(error instanceof AppError)) {
      deps.log.error({ connectionId: id, error: safeErrorFields(error) }, 'a key could not be rotated');
      // A row that was changed outside this server, for example.
      await setNextLook(deps, before, nextAttempt(before.updatedAt, currentTime()));
      return;
    }
  }
  const after = await readConnection(deps, target);
  if (after) await setNextLook(deps, after, nextLook(after, removeAt, currentTime()));
}

function readConnection({ database }: ConnectionDeps, { orgId, id }: { orgId: string; id: string }) {
  return database.forOrganisation(orgId).findOne(AppConnection, { id, orgId, deletedAt: null });
}

/** Sets the time, unless the connection was changed meanwhile: then it is looked at again. */
async function setNextLook(
  { database }: ConnectionDeps,
  { id, orgId, version }: AppConnection,
  keysDueAt: Date | null,
): Promise<void> {
  const em = database.forOrganisation(orgId);
  await em.nativeUpdate(AppConnection, { id, orgId, version }, { keysDueAt });
}
