import type { Credentials } from '../../apps/credentials.ts';
import { storeWithEvents } from '../../audit/audited-change.ts';
import { type RecordedEvent, serverActor } from '../../audit/hash-chain.ts';
import { currentTime, currentTimeMs } from '../../common/clock.ts';
import { safeErrorFields } from '../../common/log.ts';
import { AppConnection, type PendingRevocation } from '../app-connection.entity.ts';
import { toStoredFailure } from '../credentials/former-keys.ts';
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
import { type Attempt, removeFormerKeys } from './remove-former-keys.ts';

const minRetryMs = 5_000;
const maxRetryMs = 3_600_000;
/** How long a revocation is tried, in milliseconds. */
const maxAgeMs = 86_400_000;
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
      const attempt = await tryToRevoke(deps, connection, revocation, signal);
      const ageMs = currentTimeMs() - Date.parse(revocation.requestedAt);
      if (attempt.isFinal || ageMs >= maxAgeMs)
        await retryIfReplaced(() => finish(deps, orgId, id, revocation, attempt));
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
): Promise<Attempt> {
  const { orgId, app } = connection;
  const resolved = resolveAppAndMethod(deps, { app, method: revocation.method });
  const { method } = resolved;
  const { keyIds } = revocation;
  if (keyIds) return removeFormerKeys(deps, connection, { ...revocation, keyIds }, signal);
  if (!method.revoke) throw new TypeError(`Credentials of ${method.id} cannot be revoked.`);
  const em = deps.database.forOrganisation(orgId);
  const stored = await openCredentials(deps, em, connection);
  const replaced = openRevocation(revocation, stored);
  // Since the revocation was requested, a caller may have stored them again, in this connection or in another one.
  const credentialsHash = await hashCredentials(deps, { ...resolved, orgId }, replaced);
  const others = { orgId, credentialsHash, deletedAt: null };
  if (haveSameSecret(stored, replaced) || (await em.count(AppConnection, others)) > 0)
    return { outcome: 'CONNECTION_IN_USE', isFinal: true };
  const outbound = deps.outbound.onBehalfOf({ orgId, callerId: `${orgId} revocations` });
  const result = await method.revoke(replaced, outbound, signal);
  signal.throwIfAborted();
  return result.isRevoked ? { outcome: 'OK', isFinal: true } : { outcome: result.code, isFinal: false };
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
  attempt: Attempt,
): Promise<void> {
  const before = await readConnection(deps, orgId, id);
  if (!before?.revocations?.some((each) => each.id === revocation.id)) return;
  const em = deps.database.forOrganisation(orgId);
  const stored = await openCredentials(deps, em, before);
  const { columns, credentials } = removeRevocation(before, stored, revocation);
  const owner = { ...resolveAppAndMethod(deps, before), orgId, connectionId: id };
  const sealed = await sealCredentials(deps, owner, credentials);
  const events = describeEnd(before, revocation, attempt);
  const { left } = attempt;
  await storeWithEvents(deps, orgId, {
    row: { entity: AppConnection, id },
    prepare: async (em, { sealKeyId }) => {
      const current = await em.findOne(AppConnection, { id, orgId }, { ...withSecrets, refresh: true });
      if (!current) return { events: [], result: undefined };
      (await deps.vault.rowMacs(em)).verify(em, AppConnection, current);
      assertSameCredentials(current, before);
      const noticed = left && { keyRegistrationFailure: toStoredFailure(left.failure) };
      const after = { ...current, ...columns, ...noticed, ...sealed };
      const { update, readMac } = await signedUpdate(deps, em, sealKeyId, {
        before: current,
        after,
        credentials,
      });
      return { events, updates: [update], readMac, result: undefined };
    },
  });
}

/** Returns the events of a revocation that has ended: one, or one for each key. */
function describeEnd(
  { id: connectionId, orgId, name: connectionName, projectId }: AppConnection,
  { keyIds }: PendingRevocation,
  { outcome, left, kept }: Attempt,
): RecordedEvent[] {
  const fields = ['revocation', ...(left ? ['credentials.keyRegistrationFailure'] : [])];
  const about = { ...serverActor, orgId, connectionId, connectionName, projectId, fields };
  if (!keyIds) return [{ ...about, action: 'REVOKE_TOKEN', outcome }];
  const toOutcome = (keyId: string) => {
    if (kept?.includes(keyId)) return 'CONNECTION_IN_USE';
    return left && !left.keyIds.includes(keyId) ? 'OK' : outcome;
  };
  return keyIds.map((keyId) => ({
    ...about,
    action: 'REMOVE_CONNECTION_KEY',
    targetName: keyId,
    outcome: toOutcome(keyId),
  }));
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
