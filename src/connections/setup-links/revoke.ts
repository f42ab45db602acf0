import { storeWithEvents } from '../../audit/audited-change.ts';
import { withRequestContext } from '../../audit/hash-chain.ts';
import { withRefusalAudit } from '../../audit/record-refusals.ts';
import { currentTime } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import { findConnection } from '../persistence/find-connection.ts';
import { SetupLink } from '../setup-link.entity.ts';
import { findSetupLink, setupLinkNotFound, updateSetupLink } from './setup-link.ts';

/**
 * Revokes a setup link. It stops working at once. Revoking a link that no longer works changes nothing.
 *
 * @param target `connection`: a link of another connection is not found
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `RATE_LIMITED`
 */
export async function revokeSetupLink(
  deps: ConnectionDeps,
  caller: Caller,
  target: { id: string; connection?: { id: string; app: string } },
): Promise<SetupLink> {
  const { id, connection } = target;
  const action = 'REVOKE_SETUP_LINK';
  return withRefusalAudit(deps, caller, { action, setupLinkId: id }, async () => {
    caller.requireScope('connections:write');
    await deps.limits.checkChange(caller);
    const { orgId } = caller;
    const found = await deps.database.forOrganisation(orgId).findOne(SetupLink, { id, orgId });
    if (!found || (connection && found.connectionId !== connection.id)) throw setupLinkNotFound();
    const { connectionId } = found;
    return storeWithEvents(deps, orgId, {
      row: { entity: AppConnection, id: connectionId },
      prepare: async (em) => {
        const where = { id: connectionId, ...(connection && { app: connection.app }) };
        const { name: connectionName, projectId } = await findConnection(em, caller, where).catch(
          hideConnection,
        );
        const link = await findSetupLink(em, deps.vault, found);
        if (link.finishedAt || link.revokedAt) return { events: [], result: link };
        const { changed, update } = await updateSetupLink(em, deps.vault, link, { revokedAt: currentTime() });
        const event = withRequestContext({
          ...caller.actor,
          ...{ action, connectionId, connectionName, projectId, setupLinkId: id },
          outcome: 'OK',
          fields: ['revokedAt'],
        });
        return { events: [event], updates: [update], result: changed };
      },
    });
  });
}

/** A link of a connection that the caller may not see looks like one that does not exist. */
function hideConnection(error: unknown): never {
  throw error instanceof AppError && error.code === 'NOT_FOUND' ? setupLinkNotFound() : error;
}
