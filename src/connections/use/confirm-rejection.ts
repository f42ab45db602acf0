import { LRUCache } from 'lru-cache';
import { withRequestContext } from '../../audit/hash-chain.ts';
import type { Caller } from '../../identity/caller.ts';
import { findPendingKey } from '../credentials/key-states.ts';
import { verifyWithSession } from '../credentials/sessions.ts';
import { type ConnectionDeps, unmeteredOutbound } from '../deps.ts';
import { tryPendingKey } from '../managed-keys/activate-pending-key.ts';
import { storeVerification } from '../operations/store-verification.ts';
import { budgetedOutbound } from '../rate-budget/budgeted-outbound.ts';
import type { OpenedConnection } from './opened-connections.ts';

/** Connections that were checked in the last minute. A check that does not confirm a rejection is not repeated sooner. */
const checked = new LRUCache<string, true>({ max: 10_000, ttl: 60_000 });

/**
 * Verifies a connection after the app has rejected its credentials, and stores `REJECTED` if the app does so again. A
 * single response is not enough, because a host can send anything for one path. However many requests are rejected at the
 * same time, there is one check.
 */
export async function confirmRejection(
  deps: ConnectionDeps,
  caller: Caller,
  { connection, app, method, credentials }: OpenedConnection,
): Promise<void> {
  const key = `${connection.id} ${connection.credentialsHash}`;
  if (checked.get(key)) return;
  checked.set(key, true);
  const outbound = unmeteredOutbound(deps, caller);
  const { id: connectionId, name: connectionName, projectId } = connection;
  const attempt = withRequestContext({ ...caller.actor, action: 'VERIFY_CONNECTION', outcome: 'OK' });
  if (findPendingKey(connection)) {
    // The app may have the new key already, and the old one no longer.
    const next = await tryPendingKey(deps, { orgId: caller.orgId, id: connectionId }, attempt, outbound);
    if (next?.status === 'VERIFIED') return;
  }
  const budgeted = budgetedOutbound(deps.budgets, connection, { app, method }, credentials, outbound);
  const target = { app, method, orgId: caller.orgId };
  const result = await verifyWithSession(deps, target, credentials, budgeted, { connectionId });
  if (result.status !== 'REJECTED') return;
  const event = {
    ...attempt,
    ...{ connectionId, connectionName, projectId },
    outcome: result.code,
    fields: ['verification'],
  };
  await storeVerification(deps, connection, result, event);
}
