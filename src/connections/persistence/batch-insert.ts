import type { Credentials } from '../../apps/app.ts';
import { appendEvents, type RecordedEvent } from '../../audit/hash-chain.ts';
import { bulkInsert } from '../../database/bulk-insert.ts';
import { GroupCommitter } from '../../database/group-commit.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { resealIfKeyRetired } from '../credentials/seal.ts';
import type { ConnectionDeps } from '../deps.ts';
import type { SaveOutcome } from './idempotency.ts';
import { mapNameConflict } from './name-uniqueness.ts';
import { toSnapshot } from './snapshot.ts';

/** A connection to store, and what is stored with it in the same transaction. */
export interface NewConnection {
  connection: Omit<AppConnection, 'mac'>;
  credentials: Credentials;
  event: RecordedEvent;
  saveOutcome: SaveOutcome;
}

const committers = new WeakMap<ConnectionDeps, GroupCommitter<NewConnection, AppConnection>>();

/**
 * Stores a connection. New connections of one organisation share a transaction, because each would otherwise wait for
 * the lock on the organisation's audit trail.
 *
 * @throws AppError `NAME_TAKEN`
 */
export function storeConnection(deps: ConnectionDeps, item: NewConnection): Promise<AppConnection> {
  const committer =
    committers.get(deps) ?? new GroupCommitter((orgId, items) => insertBatch(deps, orgId, items));
  committers.set(deps, committer);
  return mapNameConflict(item.connection, () => committer.submit(item.connection.orgId, item));
}

function insertBatch(
  deps: ConnectionDeps,
  orgId: string,
  items: readonly NewConnection[],
): Promise<AppConnection[]> {
  return deps.database.forOrganisation(orgId).transactional(async (em) => {
    const macs = await deps.vault.rowMacs(em);
    const stored = items.map((item) => ({
      ...item,
      connection: macs.signed(em, AppConnection, item.connection),
    }));
    const connections = stored.map(({ connection }) => connection);
    for (const { saveOutcome, connection } of stored) {
      await saveOutcome(em, () => toSnapshot(Object.assign(new AppConnection(), connection)));
    }
    const events = items.map(({ event }) => event);
    const retiredKeys = await appendEvents(em, deps, orgId, events, {
      change: bulkInsert(em, AppConnection, connections),
      query: deps.vault.retiredKeysQuery(connections.map(({ dataKeyId }) => dataKeyId)),
    });
    await resealIfKeyRetired(deps, em, stored, retiredKeys);
    return connections;
  });
}
