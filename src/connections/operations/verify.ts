import type { AuthMethod } from '../../apps/app.ts';
import type { FieldValue, VerificationResult } from '../../apps/credentials.ts';
import { withRequestContext } from '../../audit/hash-chain.ts';
import { withForbiddenAudit, withRefusalAudit } from '../../audit/record-refusals.ts';
import { AppError } from '../../common/errors.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { assertHostAllowed } from '../credentials/host.ts';
import { findPendingKey } from '../credentials/key-states.ts';
import { describePending, needsKeyPair, prepareKeys } from '../credentials/keys.ts';
import { openCredentials, retryIfReplaced } from '../credentials/seal.ts';
import { splitCredentials } from '../credentials/split.ts';
import { verifyCredentials } from '../credentials/verify.ts';
import { listAwaitedFields } from '../deferrable-fields.ts';
import { type ConnectionDeps, rateLimitedOutbound, resolveAppAndMethod } from '../deps.ts';
import { tryPendingKey } from '../managed-keys/activate-pending-key.ts';
import { type FieldPaths, requireSelectable, verifyPayloadFields } from '../payload-authorization.ts';
import type { PrepareAlongside } from '../persistence/change-connection.ts';
import { findConnection, readConnection } from '../persistence/find-connection.ts';
import { storeVerification } from './store-verification.ts';
import { verifyConversion } from './verify-conversion.ts';

/** Options of a verification. */
export interface VerifyOptions {
  /** Aborts when the client disconnects; then the result is not stored. */
  signal?: AbortSignal | undefined;
  /** The paths of the fields that the client selects. */
  selected?: FieldPaths;
  /** What is stored with the result if the credentials work; those of the conversion, if one is pending. */
  ifVerified?: PrepareAlongside;
}

/**
 * Verifies the stored credentials with the app and stores the result. The version of the connection stays the same. If a
 * conversion is pending, its credentials are verified first, and replace the others if the app accepts them; then that is the
 * result.
 *
 * @param target `app`: the id of an app; a connection to another app is not found
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `RATE_LIMITED`, `CONNECTION_PENDING` (a field is still missing)
 */
export async function verifyConnection(
  deps: ConnectionDeps,
  caller: Caller,
  target: { id: string; app?: string },
  { signal, selected = [], ifVerified }: VerifyOptions = {},
): Promise<AppConnection> {
  const { id } = target;
  const action = 'VERIFY_CONNECTION';
  return withRefusalAudit(deps, caller, { action, connectionId: id }, async () => {
    caller.requireScope('connections:verify');
    requireSelectable(caller, verifyPayloadFields, selected);
    const { orgId } = caller;
    const { before, isNewKey, credentials, isConverted } = await retryIfReplaced(async () => {
      const reader = deps.database.forOrganisation(orgId);
      const { connection: before, isNewKey } = await findWithKeyTried(deps, caller, target, signal);
      const credentials = await openCredentials(deps, reader, before);
      const options = { signal, ifVerified };
      const isConverted = await verifyConversion(deps, caller, before, credentials, options);
      return { before, isNewKey, credentials, isConverted };
    });
    if (isConverted) return readConnection(deps, caller, [sql`id = ${id}`]);
    const resolved = resolveAppAndMethod(deps, before);
    assertComplete(resolved.method, before);
    const result = await verifyCredentials(deps, caller, resolved, credentials, {
      signal,
      connection: before,
      mayReuseToken: isNewKey,
    });
    const { name: connectionName, projectId } = before;
    const outcome = result.status === 'VERIFIED' ? 'OK' : result.code;
    const attempt = { ...caller.actor, action, connectionId: id, connectionName, projectId } as const;
    const event = withRequestContext({ ...attempt, outcome, fields: ['verification'] });
    const isFinal = result.status === 'VERIFIED' && !before.conversion;
    const alongside = isFinal ? ifVerified : undefined;
    await storeVerification(deps, before, result, event, { alongside });
    return readConnection(deps, caller, [sql`id = ${id}`]);
  });
}

/** @throws AppError `CONNECTION_PENDING` if the connection waits for a field without which it cannot be verified */
function assertComplete(method: AuthMethod, { publicCredentials }: AppConnection): void {
  if (listAwaitedFields(method, publicCredentials).length === 0) return;
  const { message = '', remedy = '' } = describePending(method, publicCredentials) ?? {};
  throw new AppError('CONNECTION_PENDING', message, { remedy });
}

/**
 * Finds the connection, after its pending key was tried, if it has one.
 *
 * @returns `isNewKey`: whether the app has just accepted that key
 */
async function findWithKeyTried(
  deps: ConnectionDeps,
  caller: Caller,
  target: { id: string; app?: string },
  signal: AbortSignal | undefined,
): Promise<{ connection: AppConnection; isNewKey: boolean }> {
  const { orgId } = caller;
  const { id } = target;
  const find = () =>
    findConnection(deps.database.forOrganisation(orgId), caller, target, { withSecrets: true });
  const connection = await find();
  if (!findPendingKey(connection)) return { connection, isNewKey: false };
  const actor = withRequestContext({ ...caller.actor, action: 'VERIFY_CONNECTION', outcome: 'OK' });
  const outbound = await rateLimitedOutbound(deps, caller);
  const tried = await tryPendingKey(deps, { orgId, id }, actor, outbound, signal);
  return { connection: await find(), isNewKey: tried?.status === 'VERIFIED' };
}

/** The result of validating credentials. `PENDING`: this server makes their key pair when a connection is created. */
export type ValidationResult =
  | VerificationResult
  | { status: 'PENDING'; message: string; remedy: string; upstreamRequestId: null };

/**
 * Verifies credentials with the app without storing anything.
 *
 * @param signal aborts when the client disconnects
 * @throws AppError `FORBIDDEN`, `HOST_NOT_ALLOWED`, `RATE_LIMITED`, `BAD_USER_INPUT` (an unusable private key)
 */
export async function validateCredentials(
  deps: ConnectionDeps,
  caller: Caller,
  target: { app: string; method: string },
  values: Readonly<Record<string, FieldValue>>,
  signal?: AbortSignal,
): Promise<ValidationResult> {
  return withForbiddenAudit(deps, caller, { action: 'VALIDATE_CREDENTIALS' }, async () => {
    caller.requireScope('connections:verify');
    const { app, method } = resolveAppAndMethod(deps, target);
    const given = splitCredentials(method, values);
    const { credentials } = await prepareKeys(method, given);
    assertHostAllowed(deps, caller, { app, method }, credentials.public);
    const pending = needsKeyPair(method, given) && describePending(method, given.public);
    if (pending) return { status: 'PENDING', ...pending, upstreamRequestId: null };
    return verifyCredentials(deps, caller, { app, method }, credentials, { signal });
  });
}
