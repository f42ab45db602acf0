import type { FieldValue, VerificationResult } from '../../apps/app.ts';
import { appendEvent } from '../../audit/hash-chain.ts';
import { withForbiddenAudit, withRefusalAudit } from '../../audit/record-refusals.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import {
  assertHostAllowed,
  openCredentials,
  splitCredentials,
  verificationColumns,
} from '../credentials/credentials.ts';
import { type ConnectionDeps, rateLimitedOutbound, resolveAppAndMethod, unmeteredOutbound } from '../deps.ts';
import { type FieldPaths, requireSelectable, verifyPayloadFields } from '../payload-authorization.ts';
import { findConnection, readConnection } from '../persistence/find-connection.ts';

/**
 * Asks the app again whether the stored credentials work, and keeps the outcome. That is no change of the connection:
 * its version stays.
 *
 * @param target with the id of an app, where a connection to another app is not found
 * @param selected the fields that the caller wants to be shown, by their paths
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`
 */
export async function verifyConnection(
  deps: ConnectionDeps,
  caller: Caller,
  target: { id: string; app?: string },
  selected: FieldPaths = [],
): Promise<AppConnection> {
  const { id } = target;
  const action = 'VERIFY_CONNECTION';
  return withRefusalAudit(deps, caller, { action, connectionId: id }, async () => {
    caller.requireScope('connections:verify');
    requireSelectable(caller, verifyPayloadFields, selected);
    const { orgId } = caller;
    const em = deps.database.forOrganisation(orgId);
    const before = await findConnection(em, caller, target, { withSecrets: true });
    const { method } = resolveAppAndMethod(deps, before);
    const credentials = await openCredentials(deps, em, before);
    const diagnosis = await method.verify(credentials, await rateLimitedOutbound(deps, caller));
    const { name: connectionName, projectId } = before;
    await em.transactional(async (tx) => {
      // Whoever has replaced the credentials meanwhile has had the new ones verified; this outcome is not theirs.
      const unchanged = { id, orgId, credentialsHash: before.credentialsHash };
      await tx.nativeUpdate(AppConnection, unchanged, verificationColumns(diagnosis, new Date(), before));
      const outcome = diagnosis.status === 'VERIFIED' ? 'OK' : diagnosis.code;
      const event = { ...caller.actor, action, connectionId: id, connectionName, projectId } as const;
      await appendEvent(tx, deps, { ...event, outcome, fields: ['verification'] });
    });
    return readConnection(deps, caller, [sql`id = ${id}`]);
  });
}

/**
 * Asks the app whether credentials work, and keeps nothing.
 *
 * @throws AppError `FORBIDDEN`, `HOST_NOT_ALLOWED`
 */
export async function validateCredentials(
  deps: ConnectionDeps,
  caller: Caller,
  target: { app: string; method: string },
  credentials: Readonly<Record<string, FieldValue>>,
): Promise<VerificationResult> {
  return withForbiddenAudit(deps, caller, { action: 'VALIDATE_CREDENTIALS' }, async () => {
    caller.requireScope('connections:verify');
    const { app, method } = resolveAppAndMethod(deps, target);
    const given = splitCredentials(method, credentials);
    assertHostAllowed(unmeteredOutbound(deps, caller), { app, method }, given.public, ['credentials']);
    return method.verify(given, await rateLimitedOutbound(deps, caller));
  });
}
