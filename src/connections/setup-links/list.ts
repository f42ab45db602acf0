import { withForbiddenAudit } from '../../audit/record-refusals.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import type { ConnectionDeps } from '../deps.ts';
import { readConnection } from '../persistence/find-connection.ts';
import { SetupLink } from '../setup-link.entity.ts';
import { withRevokedKeys } from './setup-link.ts';

const maxListed = 50;

/**
 * Lists the setup links of a connection, also those that no longer work, newest first.
 *
 * @param target `app`: the id of an app; a connection to another app is not found
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`
 */
export async function listSetupLinks(
  deps: ConnectionDeps,
  caller: Caller,
  target: { id: string; app?: string },
): Promise<SetupLink[]> {
  const { id: connectionId, app } = target;
  const { orgId } = caller;
  return withForbiddenAudit(deps, caller, { action: 'READ_SETUP_LINKS', connectionId }, async () => {
    caller.requireScope('connections:write');
    await readConnection(deps, caller, [sql`id = ${connectionId}`, ...(app ? [sql`app = ${app}`] : [])]);
    const em = deps.database.forOrganisation(orgId);
    const links = await em.find(
      SetupLink,
      { orgId, connectionId },
      { orderBy: { createdAt: 'desc', id: 'desc' }, limit: maxListed },
    );
    return withRevokedKeys(em, await deps.vault.rowMacs(em), links);
  });
}
