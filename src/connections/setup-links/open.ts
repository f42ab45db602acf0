import { storeWithEvents } from '../../audit/audited-change.ts';
import { withRequestContext } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import { getConnection } from '../operations/read.ts';
import { findOwnSetupLink, requireConnectionId } from './finish.ts';
import { updateSetupLink } from './setup-link.ts';
import { buildSetupView, type SetupView } from './view.ts';

/**
 * Opens a setup link: returns what the page of the link shows, and records the first time.
 *
 * @param caller the caller of a setup link
 * @throws AppError `NOT_FOUND` if the connection was deleted meanwhile
 */
export async function openSetupLink(deps: ConnectionDeps, caller: Caller): Promise<SetupView> {
  const connection = await getConnection(deps, caller, requireConnectionId(caller));
  const { id: connectionId, name: connectionName, projectId } = connection;
  await storeWithEvents(deps, caller.orgId, {
    row: { entity: AppConnection, id: connectionId },
    prepare: async (em) => {
      const link = await findOwnSetupLink(em, deps, caller);
      if (link.openedAt) return { events: [], result: undefined };
      const { update } = await updateSetupLink(em, deps.vault, link, { openedAt: currentTime() });
      const event = withRequestContext({
        ...caller.actor,
        ...{ action: 'OPEN_SETUP_LINK', connectionId, connectionName, projectId },
        outcome: 'OK',
        fields: ['openedAt'],
      });
      return { events: [event], updates: [update], result: undefined };
    },
  });
  return buildSetupView(deps, caller, connection);
}
