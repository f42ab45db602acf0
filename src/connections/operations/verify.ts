import type { Diagnosis, FieldValue } from '../../apps/app.ts';
import { appendEvent } from '../../audit/hash-chain.ts';
import { auditForbidden, auditRefusals } from '../../audit/record-refusals.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { assertCanAsk, openCredentials, outcomeColumns, part } from '../credentials/credentials.ts';
import { appAndMethodOf, type ConnectionParts, outboundFor, uncountedOutboundFor } from '../deps.ts';
import { assertMaySelect, type FieldPaths, verifyPayloadFields } from '../payload-authorization.ts';
import { findConnection, readConnection } from '../persistence/find-connection.ts';

/**
 * Asks the app again whether the stored credentials work, and keeps the outcome. That is no change of the connection:
 * its version stays.
 *
 * @param target with the id of an app, where a connection to another app is not found
 * @param selected the fields that the caller wants to be shown, by their paths
 * @throws Problem `FORBIDDEN`, `NOT_FOUND`
 */
export async function verifyConnection(
  parts: ConnectionParts,
  caller: Caller,
  target: { id: string; app?: string },
  selected: FieldPaths = [],
): Promise<AppConnection> {
  const { id } = target;
  const action = 'VERIFY_CONNECTION';
  return auditRefusals(parts, caller, { action, connectionId: id }, async () => {
    caller.assertMay('connections:verify');
    assertMaySelect(caller, verifyPayloadFields, selected);
    const { orgId } = caller;
    const em = parts.database.fork(orgId);
    const before = await findConnection(em, caller, target, { withSecrets: true });
    const { method } = appAndMethodOf(parts, before);
    const credentials = await openCredentials(parts, em, before);
    const diagnosis = await method.verify(credentials, await outboundFor(parts, caller));
    const { name: connectionName, projectId } = before;
    await em.transactional(async (tx) => {
      // Whoever has replaced the credentials meanwhile has had the new ones verified; this outcome is not theirs.
      const unchanged = { id, orgId, credentialsHash: before.credentialsHash };
      await tx.nativeUpdate(AppConnection, unchanged, outcomeColumns(diagnosis, new Date(), before));
      const outcome = diagnosis.status === 'VERIFIED' ? 'OK' : diagnosis.code;
      const event = { ...caller.actor, action, connectionId: id, connectionName, projectId } as const;
      await appendEvent(tx, parts, { ...event, outcome, fields: ['verification'] });
    });
    return readConnection(parts, caller, [sql`id = ${id}`]);
  });
}

/**
 * Asks the app whether credentials work, and keeps nothing.
 *
 * @throws Problem `FORBIDDEN`, `HOST_NOT_ALLOWED`
 */
export async function validateCredentials(
  parts: ConnectionParts,
  caller: Caller,
  target: { app: string; method: string },
  credentials: Readonly<Record<string, FieldValue>>,
): Promise<Diagnosis> {
  return auditForbidden(parts, caller, { action: 'VALIDATE_CREDENTIALS' }, async () => {
    caller.assertMay('connections:verify');
    const { app, method } = appAndMethodOf(parts, target);
    const given = part(method, credentials);
    assertCanAsk(uncountedOutboundFor(parts, caller), { app, method }, given.public, ['credentials']);
    return method.verify(given, await outboundFor(parts, caller));
  });
}
