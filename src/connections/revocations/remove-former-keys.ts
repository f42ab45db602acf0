import type { KeyRegistrationFailure } from '../../apps/managed-keys.ts';
import type { AuditEvent } from '../../audit/audit-event.entity.ts';
import type { ErrorCode } from '../../common/errors.ts';
import type { AppConnection, PendingRevocation } from '../app-connection.entity.ts';
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
}

/** The failures that can end by themselves. */
const temporary: readonly ErrorCode[] = ['UPSTREAM_RATE_LIMITED', 'UPSTREAM_UNREACHABLE'];

/**
 * Removes the keys of this server at the client of the app that a connection has left, with the credentials that it had there. Keys of
 * a client to which the connection has returned stay.
 *
 * @throws AppError, OutboundError if this server cannot send the requests
 */
export async function removeFormerKeys(
  deps: ConnectionDeps,
  connection: AppConnection,
  revocation: PendingRevocation & { keyIds: string[] },
  signal: AbortSignal,
): Promise<Attempt> {
  const { orgId, app: appId, publicCredentials, conversion } = connection;
  const { keyIds, publicCredentials: former } = revocation;
  const { app, method } = resolveAppAndMethod(deps, { app: appId, method: revocation.method });
  const { managedKeys } = method;
  if (!managedKeys?.client || !managedKeys.register)
    throw new TypeError(`Keys of ${method.id} cannot be removed.`);
  const { field, describeLeft } = managedKeys.client;
  const isUsed = [publicCredentials, conversion?.publicCredentials].some(
    (each) => each?.[field] === former[field],
  );
  if (isUsed) return { outcome: 'CONNECTION_IN_USE', isFinal: true };
  const stored = await openCredentials(deps, deps.database.forOrganisation(orgId), connection);
  const credentials = openRevocation(revocation, stored);
  const unbudgeted = deps.outbound.onBehalfOf({ orgId, callerId: `${orgId} revocations` });
  const outbound = budgetedOutbound(deps.budgets, connection, { app, method }, credentials, unbudgeted);
  const session = method.createSession?.(credentials);
  const changes = { remove: keyIds, removesOwn: true };
  const result = await managedKeys.register(credentials, changes, outbound, signal, session);
  signal.throwIfAborted();
  if (result.status === 'DONE') return { outcome: 'OK', isFinal: true };
  const leftIds = (result.status === 'FAILED' && result.left) || keyIds;
  const failure = describeLeft(former, leftIds);
  const code = result.status === 'FAILED' ? result.code : failure.code;
  return { outcome: code, isFinal: !temporary.includes(code), left: { failure, keyIds: leftIds } };
}
