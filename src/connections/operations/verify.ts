import type { FieldValue, VerificationResult } from '../../apps/app.ts';
import { withRequestContext } from '../../audit/hash-chain.ts';
import { withForbiddenAudit, withRefusalAudit } from '../../audit/record-refusals.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { assertHostAllowed } from '../credentials/host.ts';
import { openCredentials, retryIfReplaced } from '../credentials/seal.ts';
import { splitCredentials } from '../credentials/split.ts';
import { verifyCredentials } from '../credentials/verify.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { type FieldPaths, requireSelectable, verifyPayloadFields } from '../payload-authorization.ts';
import { findConnection, readConnection } from '../persistence/find-connection.ts';
import { storeVerification } from './store-verification.ts';

/** Options of a verification. */
export interface VerifyOptions {
  /** Aborts when the client disconnects; then the result is not stored. */
  signal?: AbortSignal | undefined;
  /** The paths of the fields that the client selects. */
  selected?: FieldPaths;
}

/**
 * Verifies the stored credentials with the app and stores the result. The version of the connection stays the same.
 *
 * @param target `app`: the id of an app; a connection to another app is not found
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `RATE_LIMITED`
 */
export async function verifyConnection(
  deps: ConnectionDeps,
  caller: Caller,
  target: { id: string; app?: string },
  { signal, selected = [] }: VerifyOptions = {},
): Promise<AppConnection> {
  const { id } = target;
  const action = 'VERIFY_CONNECTION';
  return withRefusalAudit(deps, caller, { action, connectionId: id }, async () => {
    caller.requireScope('connections:verify');
    requireSelectable(caller, verifyPayloadFields, selected);
    const { orgId } = caller;
    const { before, credentials } = await retryIfReplaced(async () => {
      const reader = deps.database.forOrganisation(orgId);
      const before = await findConnection(reader, caller, target, { withSecrets: true });
      return { before, credentials: await openCredentials(deps, reader, before) };
    });
    const resolved = resolveAppAndMethod(deps, before);
    const result = await verifyCredentials(deps, caller, resolved, credentials, {
      signal,
      connection: before,
    });
    const { name: connectionName, projectId } = before;
    const outcome = result.status === 'VERIFIED' ? 'OK' : result.code;
    const attempt = { ...caller.actor, action, connectionId: id, connectionName, projectId } as const;
    const event = withRequestContext({ ...attempt, outcome, fields: ['verification'] });
    await storeVerification(deps, before, result, event);
    return readConnection(deps, caller, [sql`id = ${id}`]);
  });
}

/**
 * Verifies credentials with the app without storing anything.
 *
 * @param signal aborts when the client disconnects
 * @throws AppError `FORBIDDEN`, `HOST_NOT_ALLOWED`, `RATE_LIMITED`
 */
export async function validateCredentials(
  deps: ConnectionDeps,
  caller: Caller,
  target: { app: string; method: string },
  values: Readonly<Record<string, FieldValue>>,
  signal?: AbortSignal,
): Promise<VerificationResult> {
  return withForbiddenAudit(deps, caller, { action: 'VALIDATE_CREDENTIALS' }, async () => {
    caller.requireScope('connections:verify');
    const { app, method } = resolveAppAndMethod(deps, target);
    const credentials = splitCredentials(method, values);
    assertHostAllowed(deps, caller, { app, method }, credentials.public);
    return verifyCredentials(deps, caller, { app, method }, credentials, { signal });
  });
}
