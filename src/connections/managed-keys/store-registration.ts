import type { KeyRegistration, KeysToRegister } from '../../apps/managed-keys.ts';
import { storeWithEvents } from '../../audit/audited-change.ts';
import type { RecordedEvent } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import { updateRow } from '../../database/row-statements.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import type { KeyChangeActor } from './change-keys.ts';

/**
 * Stores whether the app has added or removed keys of a connection. A failure for another reason than before is an audit event. The
 * version of the connection stays the same.
 *
 * @param before the connection as it was read before the app was asked
 */
export async function storeRegistration(
  deps: ConnectionDeps,
  before: AppConnection,
  actor: KeyChangeActor,
  { add, remove = [] }: KeysToRegister,
  result: KeyRegistration,
): Promise<void> {
  const { id, orgId, name: connectionName, projectId } = before;
  if (result.status !== 'FAILED') {
    if (!before.keyRegistrationFailure) return;
    const em = deps.database.forOrganisation(orgId);
    await em.nativeUpdate(AppConnection, { id, orgId }, { keyRegistrationFailure: null });
    return;
  }
  const { code, message, remedy } = result;
  const isKnown = ({ keyRegistrationFailure: known }: AppConnection) =>
    known?.code === code && known.message === message;
  if (isKnown(before)) return;
  const about = { connectionId: id, connectionName, projectId, targetName: add?.keyId ?? remove[0] ?? null };
  const event: RecordedEvent = {
    ...{ ...actor, orgId, action: 'REGISTER_CONNECTION_KEY', ...about },
    ...{ outcome: code, fields: ['credentials.keyRegistrationFailure'] },
  };
  await storeWithEvents(deps, orgId, {
    row: { entity: AppConnection, id },
    prepare: async (em) => {
      const current = await em.findOne(AppConnection, { id, orgId, deletedAt: null }, { refresh: true });
      // Another server was first.
      if (!current || isKnown(current)) return { events: [], result: undefined };
      const keyRegistrationFailure = { since: currentTime().toISOString(), code, message, remedy };
      const changed = { ...current, keyRegistrationFailure };
      const update = updateRow(em, AppConnection, changed, ['keyRegistrationFailure']);
      return { events: [event], updates: [update], result: undefined };
    },
  });
}
