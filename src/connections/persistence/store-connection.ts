import type { Credentials } from '../../apps/credentials.ts';
import { storeWithEvents } from '../../audit/audited-change.ts';
import type { RecordedEvent } from '../../audit/hash-chain.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { sealUnderKey } from '../credentials/seal.ts';
import type { ConnectionDeps } from '../deps.ts';
import type { BuildOutcome } from './idempotency.ts';
import { mapNameConflict } from './project-and-name.ts';
import { toSnapshot } from './snapshot.ts';

/** A connection to store, and what is stored with it. */
export interface NewConnection {
  connection: Omit<AppConnection, 'mac'>;
  credentials: Credentials;
  event: RecordedEvent;
  buildOutcome: BuildOutcome;
}

/**
 * Stores a connection with its audit event.
 *
 * @throws AppError `NAME_TAKEN`
 */
export function storeConnection(
  deps: ConnectionDeps,
  { connection, credentials, event, buildOutcome }: NewConnection,
): Promise<AppConnection> {
  return mapNameConflict(connection, () =>
    storeWithEvents(deps, connection.orgId, {
      prepare: async (em, trail) => {
        const sealed = await sealUnderKey(deps, em, trail.sealKeyId, connection, credentials);
        const macs = await deps.vault.rowMacs(em);
        const stored = macs.signed(em, AppConnection, { ...connection, ...sealed });
        const outcome = buildOutcome(() => toSnapshot(Object.assign(new AppConnection(), stored)));
        const forOwner = await deps.prepareOwnerNotice(em, stored, undefined, trail);
        return {
          events: [event],
          inserts: [[AppConnection, stored], ...outcome, ...forOwner],
          result: stored,
        };
      },
    }),
  );
}
