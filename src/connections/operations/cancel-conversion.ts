import { withRefusalAudit } from '../../audit/record-refusals.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { noConversion, replaceConversionSecrets } from '../credentials/conversion.ts';
import {
  assertSameCredentials,
  openCredentials,
  retryIfReplaced,
  sealCredentials,
} from '../credentials/seal.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { cancelPayloadFields, type FieldPaths, requireSelectable } from '../payload-authorization.ts';
import { changeConnection } from '../persistence/change-connection.ts';
import { findConnection } from '../persistence/find-connection.ts';

/** Describes the operation to callers. */
export const cancellationDescription =
  'Cancels the pending conversion of a connection, and deletes its key. The connection keeps the credentials in use.';

/**
 * Cancels the pending conversion of a connection, and deletes its key. A connection without one stays the same.
 *
 * @param target `app`: the id of an app; a connection to another app is not found
 * @param selected the paths of the fields that the client selects
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`
 */
export async function cancelConversion(
  deps: ConnectionDeps,
  caller: Caller,
  target: { id: string; app?: string },
  selected: FieldPaths = [],
): Promise<AppConnection> {
  const action = 'CANCEL_CONVERSION';
  return withRefusalAudit(deps, caller, { action, connectionId: target.id }, () => {
    caller.requireScope('connections:write');
    requireSelectable(caller, cancelPayloadFields, selected);
    return retryIfReplaced(async () => {
      const em = deps.database.forOrganisation(caller.orgId);
      const before = await findConnection(em, caller, target, { withSecrets: true });
      const stored = await openCredentials(deps, em, before);
      const credentials = { ...stored, inactive: replaceConversionSecrets(stored) };
      const owner = { ...resolveAppAndMethod(deps, before), orgId: before.orgId, connectionId: before.id };
      const sealed = await sealCredentials(deps, owner, credentials);
      return changeConnection(deps, caller, {
        target,
        action,
        apply: (connection) => {
          assertSameCredentials(connection, before);
          if (!connection.conversion) return [];
          Object.assign(connection, sealed, noConversion);
          return ['conversion'];
        },
        credentials,
      });
    });
  });
}
