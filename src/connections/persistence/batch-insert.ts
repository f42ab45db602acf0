import type { Credentials } from '../../apps/app.ts';
import { appendEvents, type ToldEvent } from '../../audit/hash-chain.ts';
import { insertOf } from '../../database/bulk-insert.ts';
import { Together } from '../../database/group-commit.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { retiredKeysOf, sealUnderActiveKey } from '../credentials/credentials.ts';
import type { ConnectionParts } from '../deps.ts';
import type { Keep } from './idempotency.ts';
import { snapshot } from './snapshot.ts';

/** A connection to be stored, and all that is stored with it. */
export interface NewConnection {
  /** Need be no more than a plain object. */
  connection: Omit<AppConnection, 'mac'>;
  credentials: Credentials;
  event: ToldEvent;
  keep: Keep;
}

const stores = new WeakMap<ConnectionParts, Together<NewConnection, AppConnection>>();

/**
 * Stores a connection. Those of one organisation would wait for each other to add to its audit trail; instead, they
 * share a transaction.
 */
export function storeConnection(parts: ConnectionParts, made: NewConnection): Promise<AppConnection> {
  const store = stores.get(parts) ?? new Together((orgId, all) => storeAll(parts, orgId, all));
  stores.set(parts, store);
  return store.do(made.connection.orgId, made);
}

function storeAll(
  parts: ConnectionParts,
  orgId: string,
  all: readonly NewConnection[],
): Promise<AppConnection[]> {
  return parts.database.fork(orgId).transactional(async (em) => {
    const macs = await parts.vault.rowMacs(em);
    const stored = all.map((made) => ({
      ...made,
      connection: macs.signed(em, AppConnection, made.connection),
    }));
    const connections = stored.map(({ connection }) => connection);
    for (const { keep, connection } of stored) {
      await keep(em, () => snapshot(Object.assign(new AppConnection(), connection)));
    }
    const events = all.map(({ event }) => event);
    const retired = await appendEvents(em, parts, orgId, events, {
      change: insertOf(em, AppConnection, connections),
      look: retiredKeysOf(parts, stored),
    });
    await sealUnderActiveKey(parts, em, stored, retired);
    return connections;
  });
}
