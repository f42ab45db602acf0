import type { App } from '../../apps/app.ts';
import { withRequestContext } from '../../audit/hash-chain.ts';
import { withRefusalAudit } from '../../audit/record-refusals.ts';
import { AppError } from '../../common/errors.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { isUntried } from '../credentials/keys.ts';
import { type ConnectionDeps, rateLimitedOutbound, resolveAppAndMethod } from '../deps.ts';
import { tryPendingKey } from '../managed-keys/activate-pending-key.ts';
import { registerPendingKey } from '../managed-keys/register-keys.ts';
import { startRotation } from '../managed-keys/start-rotation.ts';
import { type FieldPaths, requireSelectable, rotatePayloadFields } from '../payload-authorization.ts';
import { findConnection, readConnection } from '../persistence/find-connection.ts';

/** Describes the operation to callers. */
export function describeRotation({ name }: App): string {
  return (
    'Replaces the key of a connection that this server has made. The new key is `PENDING` and is published beside the old one, ' +
    `which stays in use until ${name} accepts the new one. That is tried at once and with each verification. While a key is ` +
    '`PENDING`, no further one is made.'
  );
}

/** Options of a rotation. */
export interface RotateOptions {
  /** Aborts when the client disconnects; the new key stays, and is tried later. */
  signal?: AbortSignal | undefined;
  /** The paths of the fields that the client selects. */
  selected?: FieldPaths;
}

/**
 * Replaces the key of a connection that this server has made. The new key is published beside the old one, and used once the app
 * accepts it: at once, or after a later verification. While there is such a key, no further one is made.
 *
 * @param target `app`: the id of an app; a connection to another app is not found
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `BAD_USER_INPUT` (this server did not make the key), `CONNECTION_PENDING` (the
 *   app does not know the first key yet), `RATE_LIMITED`
 */
export async function rotateConnectionKey(
  deps: ConnectionDeps,
  caller: Caller,
  target: { id: string; app: string },
  { signal, selected = [] }: RotateOptions = {},
): Promise<AppConnection> {
  const { id } = target;
  const { orgId } = caller;
  const action = 'ROTATE_CONNECTION_KEY';
  return withRefusalAudit(deps, caller, { action, connectionId: id }, async () => {
    caller.requireScope('connections:write');
    requireSelectable(caller, rotatePayloadFields, selected);
    const before = await findConnection(deps.database.forOrganisation(orgId), caller, target);
    const managedKeys = requireManagedKeys(deps, before);
    await deps.limits.checkChange(caller);
    const actor = withRequestContext({ ...caller.actor, action, outcome: 'OK' });
    const outbound = await rateLimitedOutbound(deps, caller);
    await startRotation(deps, managedKeys, { orgId, id }, actor);
    try {
      await registerPendingKey(deps, { orgId, id }, actor, outbound, signal);
      await tryPendingKey(deps, { orgId, id }, actor, outbound, signal);
    } catch (error) {
      // The new key is stored, and waits for the next attempt.
      if (!(error instanceof AppError) && !signal?.aborted) throw error;
    }
    return readConnection(deps, caller, [sql`id = ${id}`]);
  });
}

/** @throws AppError `BAD_USER_INPUT`, `CONNECTION_PENDING` */
function requireManagedKeys(deps: ConnectionDeps, connection: AppConnection) {
  const { app, method } = resolveAppAndMethod(deps, connection);
  const { managedKeys } = method;
  if (!managedKeys) {
    throw new AppError(
      'BAD_USER_INPUT',
      `A connection with the method “${method.label}” has no key that could be rotated.`,
      { remedy: `Replace its secret in ${app.name}, and update the connection with the new one.` },
    );
  }
  if (!connection.isPlatformManagedCredentials) {
    throw new AppError(
      'BAD_USER_INPUT',
      'The private key of this connection is your own. This server only replaces keys that it has made.',
      {
        remedy: `Make a new key, add its public part in ${app.name}, and update ${managedKeys.privateKeyField} of the connection.`,
      },
    );
  }
  if (isUntried(connection)) {
    throw new AppError(
      'CONNECTION_PENDING',
      `${app.name} has not accepted the first key of this connection yet.`,
      {
        remedy: managedKeys.pending.remedy,
      },
    );
  }
  return managedKeys;
}
