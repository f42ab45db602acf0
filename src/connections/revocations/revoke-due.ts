import type { Credentials } from '../../apps/credentials.ts';
import type { AuditEvent } from '../../audit/audit-event.entity.ts';
import { storeWithEvents } from '../../audit/audited-change.ts';
import { type RecordedEvent, serverActor } from '../../audit/hash-chain.ts';
import { currentTime, currentTimeMs } from '../../common/clock.ts';
import { safeErrorFields } from '../../common/log.ts';
import { AppConnection, type PendingRevocation } from '../app-connection.entity.ts';
import { openRevocation, removeRevocation } from '../credentials/revocation.ts';
import {
  assertSameCredentials,
  hashCredentials,
  openCredentials,
  retryIfReplaced,
  sealCredentials,
} from '../credentials/seal.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { signedUpdate } from '../persistence/signed-update.ts';

const minRetryMs = 5_000;
const maxRetryMs = 3_600_000;
/** How long a revocation is tried, in milliseconds. */
const maxAgeMs = 86_400_000;
/** The outcomes after which a revocation is not tried again. */
const finalOutcomes: readonly AuditEvent['outcome'][] = ['OK', 'CONNECTION_IN_USE'];

/**
 * Revokes the credentials of a connection that others have replaced, if they are due. A failure is tried again, each time after
 * twice as long, up to an hour, and given up after a day. Then, as after a success, they are deleted with an audit event. Credentials
 * that a connection uses again are deleted and not revoked.
 *
 * @param signal aborts when the server stops; then it is tried again later
 */
export async function revokeDue(
  deps: ConnectionDeps,
  orgId: string,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  // A revocation that fails must not delay the others of the connection.
  const tried = new Set<string>();
  for (;;) {
    const connection = await readConnection(deps, orgId, id);
    if (!connection?.revokeAt || !connection.revocations || !isDue(connection.revokeAt)) return;
    const revocation = connection.revocations.find((each) => !tried.has(each.id));
    if (!revocation) return postpone(deps, connection, connection.revocations);
    tried.add(revocation.id);
    try {
      const outcome = await tryToRevoke(deps, connection, revocation, signal);
      const ageMs = currentTimeMs() - Date.parse(revocation.requestedAt);
      if (finalOutcomes.includes(outcome) || ageMs >= maxAgeMs)
        await retryIfReplaced(() => finish(deps, orgId, id, revocation, outcome));
    } catch (error) {
      if (signal.aborted) throw error;
      deps.log.error(
        { connectionId: id, error: safeErrorFields(error) },
        'replaced credentials could not be revoked',
      );
    }
  }
}

/** Returns a time after any that is set for a retry: only a server with a wrong clock sets a later one. */
export function latestRetry(now: Date): Date {
  return new Date(now.getTime() + 1.2 * maxRetryMs);
}

function isDue(revokeAt: Date): boolean {
  const now = currentTime();
  return revokeAt <= now || revokeAt > latestRetry(now);
}

const withSecrets = { populate: ['sealedCredentials', 'mac'] } as const;

/** Reads a connection, also one that was deleted since. */
function readConnection({ database }: ConnectionDeps, orgId: string, id: string) {
  return database.forOrganisation(orgId).findOne(AppConnection, { id, orgId }, withSecrets);
}

async function tryToRevoke(
  deps: ConnectionDeps,
  connection: AppConnection,
  revocation: PendingRevocation,
  signal: AbortSignal,
): Promise<AuditEvent['outcome']> {
  const { orgId, app } = connection;
  const resolved = resolveAppAndMethod(deps, { app, method: revocation.method });
  const { method } = resolved;
  if (!method.revoke) throw new TypeError(`Credentials of ${method.id} cannot be revoked.`);
  const em = deps.database.forOrganisation(orgId);
  const stored = await openCredentials(deps, em, connection);
  const replaced = openRevocation(revocation, stored);
  // Since the revocation was requested, a caller may have stored them again, in this connection or in another one.
  const credentialsHash = await hashCredentials(deps, { ...resolved, orgId }, replaced);
  const others = { orgId, credentialsHash, deletedAt: null };
  if (haveSameSecret(stored, replaced) || (await em.count(AppConnection, others)) > 0)
    return 'CONNECTION_IN_USE';
  const outbound = deps.outbound.onBehalfOf({ orgId, callerId: `${orgId} revocations` });
  const result = await method.revoke(replaced, outbound, signal);
  signal.throwIfAborted();
  return result.isRevoked ? 'OK' : result.code;
}

function haveSameSecret({ secret: one }: Credentials, { secret: other }: Credentials): boolean {
  return Object.entries(one).some(([name, value]) => value.reveal() === other[name]?.reveal());
}

/** Deletes the credentials of a revocation that has ended. Like a re-encryption, it leaves the version of the connection. */
async function finish(
  deps: ConnectionDeps,
  orgId: string,
  id: string,
  revocation: PendingRevocation,
  outcome: AuditEvent['outcome'],
): Promise<void> {
  const before = await readConnection(deps, orgId, id);
  if (!before?.revocations?.some((each) => each.id === revocation.id)) return;
  const em = deps.database.forOrganisation(orgId);
  const stored = await openCredentials(deps, em, before);
  const { columns, credentials } = removeRevocation(before, stored, revocation);
  const owner = { ...resolveAppAndMethod(deps, before), orgId, connectionId: id };
  const sealed = await sealCredentials(deps, owner, credentials);
  const { name: connectionName, projectId } = before;
  const event: RecordedEvent = {
    ...{ orgId, action: 'REVOKE_TOKEN', connectionId: id, connectionName, projectId },
    ...serverActor,
    ...{ outcome, fields: ['revocation'] },
  };
  await storeWithEvents(deps, orgId, {
    row: { entity: AppConnection, id },
    prepare: async (em, { sealKeyId }) => {
      const current = await em.findOne(AppConnection, { id, orgId }, { ...withSecrets, refresh: true });
      if (!current) return { events: [], result: undefined };
      (await deps.vault.rowMacs(em)).verify(em, AppConnection, current);
      assertSameCredentials(current, before);
      const after = { ...current, ...columns, ...sealed };
      const { update, readMac } = await signedUpdate(deps, em, sealKeyId, {
        before: current,
        after,
        credentials,
      });
      return { events: [event], updates: [update], readMac, result: undefined };
    },
  });
}

/** Tries all revocations of a connection again when the newest is due, unless another was requested meanwhile. */
async function postpone(
  { database }: ConnectionDeps,
  { id, orgId, revokeAt: before }: AppConnection,
  revocations: readonly PendingRevocation[],
): Promise<void> {
  const waits = revocations.map(({ requestedAt }) => {
    const ageMs = currentTimeMs() - Date.parse(requestedAt);
    // A wrong clock can have set a time of the request that is to come.
    return ageMs < 0 ? maxRetryMs : Math.min(Math.max(ageMs, minRetryMs), maxRetryMs);
  });
  const revokeAt = new Date(currentTimeMs() + Math.min(...waits));
  await database
    .forOrganisation(orgId)
    .nativeUpdate(AppConnection, { id, orgId, revokeAt: before }, { revokeAt });
}
