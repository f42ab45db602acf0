import type { Credentials } from '../../apps/app.ts';
import { appendEvents, type RecordedEvent } from '../../audit/hash-chain.ts';
import { bulkInsert } from '../../database/bulk-insert.ts';
import { GroupCommitter } from '../../database/group-commit.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { findRetiredKeys, resealIfKeyRetired } from '../credentials/credentials.ts';
import type { ConnectionDeps } from '../deps.ts';
import type { SaveOutcome } from './idempotency.ts';
import { toSnapshot } from './snapshot.ts';

/** A connection to be stored, and all that is stored with it. */
export interface NewConnection {
  /** Need be no more than a plain object. */
  connection: Omit<AppConnection, 'mac'>;
  credentials: Credentials;
  event: RecordedEvent;
  keep: SaveOutcome;
}

const stores = new WeakMap<ConnectionDeps, GroupCommitter<NewConnection, AppConnection>>();

/**
 * Stores a connection. Those of one organisation would wait for each other to add to its audit trail; instead, they
 * share a transaction.
 */
export function storeConnection(deps: ConnectionDeps, made: NewConnection): Promise<AppConnection> {
  const store = stores.get(deps) ?? new GroupCommitter((orgId, all) => insertBatch(deps, orgId, all));
  stores.set(deps, store);
  return store.submit(made.connection.orgId, made);
}

function insertBatch(
  deps: ConnectionDeps,
  orgId: string,
  all: readonly NewConnection[],
): Promise<AppConnection[]> {
  return deps.database.forOrganisation(orgId).transactional(async (em) => {
    const macs = await deps.vault.rowMacs(em);
    const stored = all.map((made) => ({
      ...made,
      connection: macs.signed(em, AppConnection, made.connection),
    }));
    const connections = stored.map(({ connection }) => connection);
    for (const { keep, connection } of stored) {
      await keep(em, () => toSnapshot(Object.assign(new AppConnection(), connection)));
    }
    const events = all.map(({ event }) => event);
    const retired = await appendEvents(em, deps, orgId, events, {
      change: bulkInsert(em, AppConnection, connections),
      look: findRetiredKeys(deps, stored),
    });
    await resealIfKeyRetired(deps, em, stored, retired);
    return connections;
  });
}
