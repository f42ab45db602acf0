import type { KeyRegistrationFailure } from '../../apps/managed-keys.ts';
import type { AuditEvent } from '../../audit/audit-event.entity.ts';
import type { ErrorCode } from '../../common/errors.ts';
import { AppConnection, type PendingRevocation } from '../app-connection.entity.ts';
import { openRevocation } from '../credentials/revocation.ts';
import { openCredentials } from '../credentials/seal.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { budgetedOutbound } from '../rate-budget/budgeted-outbound.ts';

/** The result of an attempt to revoke replaced credentials, or to remove keys. */
export interface Attempt {
  outcome: AuditEvent['outcome'];
  /** Whether another attempt makes no sense. */
  isFinal: boolean;
  /** What a person does with keys that could not be removed. */
  left?: { failure: KeyRegistrationFailure; keyIds: readonly string[] };
  /** The ids of keys that stay because the connection uses them again. */
  kept?: readonly string[];
}

/** The failures that can end by themselves. */
const temporary: readonly ErrorCode[] = ['UPSTREAM_RATE_LIMITED', 'UPSTREAM_UNREACHABLE'];

/**
 * Removes the keys of this server at the client of the app that a connection has left, with the credentials that it had there. If it
 * has returned to that client, the keys that it has now stay.
 *
 * @throws AppError, OutboundError if this server cannot send the requests
 */
export async function removeFormerKeys(
  deps: ConnectionDeps,
  connection: AppConnection,
  revocation: PendingRevocation & { keyIds: string[] },
  signal: AbortSignal,
): Promise<Attempt> {
  const { id, orgId, app: appId } = connection;
  const { keyIds, publicCredentials: former } = revocation;
  const { app, method } = resolveAppAndMethod(deps, { app: appId, method: revocation.method });
  const { managedKeys } = method;
  if (!managedKeys?.client || !managedKeys.register)
    throw new TypeError(`Keys of ${method.id} cannot be removed.`);
  const { field, describeLeft } = managedKeys.client;
  const used = new Set<string>();
  const addUsed = (current: AppConnection) => {
    for (const each of [current, current.conversion]) {
      if (each?.publicCredentials[field] !== former[field]) continue;
      for (const { keyId } of each?.keys ?? []) used.add(keyId);
    }
  };
  addUsed(connection);
  const remove = keyIds.filter((keyId) => !used.has(keyId));
  if (remove.length === 0) return { outcome: 'CONNECTION_IN_USE', isFinal: true };
  // An update can return to the client while its keys are being removed.
  const isUsed = async (keyId: string) => {
    const current = await deps.database.forOrganisation(orgId).findOne(AppConnection, { id, orgId });
    if (current) addUsed(current);
    return used.has(keyId);
  };
  const stored = await openCredentials(deps, deps.database.forOrganisation(orgId), connection);
  const credentials = openRevocation(revocation, stored);
  const unbudgeted = deps.outbound.onBehalfOf({ orgId, callerId: `${orgId} revocations` });
  const outbound = budgetedOutbound(deps.budgets, connection, { app, method }, credentials, unbudgeted);
  const session = method.createSession?.(credentials);
  const changes = { remove, removesOwn: true, isUsed };
  const result = await managedKeys.register(credentials, changes, outbound, signal, session);
  signal.throwIfAborted();
  const leftIds: string[] = [];
  if (result.status !== 'DONE') {
    for (const keyId of (result.status === 'FAILED' && result.left) || remove)
      if (!(await isUsed(keyId))) leftIds.push(keyId);
  }
  const kept = keyIds.filter((keyId) => used.has(keyId));
  if (leftIds.length === 0) return { outcome: 'OK', isFinal: true, kept };
  const failure = describeLeft(former, leftIds);
  const code = result.status === 'FAILED' ? result.code : failure.code;
  return { outcome: code, isFinal: !temporary.includes(code), kept, left: { failure, keyIds: leftIds } };
}
