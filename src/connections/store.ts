import type { RequiredEntityData } from '@mikro-orm/postgresql';
import type { Credentials } from '../apps/app.ts';
import { appendEvents, type ToldEvent } from '../audit/chain.ts';
import { Together } from '../database/together.ts';
import { AppConnection } from './app-connection.entity.ts';
import { sealUnderActiveKey } from './credentials.ts';
import type { Keep } from './idempotency.ts';
import type { ConnectionParts } from './parts.ts';
import { snapshot } from './snapshot.ts';

/** A connection to be stored, and all that is stored with it. */
export interface NewConnection {
  values: RequiredEntityData<AppConnection> & { orgId: string };
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
  return store.do(made.values.orgId, made);
}

function storeAll(
  parts: ConnectionParts,
  orgId: string,
  all: readonly NewConnection[],
): Promise<AppConnection[]> {
  return parts.database.fork(orgId).transactional(async (em) => {
    await em.insertMany(
      AppConnection,
      all.map(({ values }) => values),
    );
    const stored = all.map(({ values, ...rest }) => ({
      ...rest,
      connection: Object.assign(new AppConnection(), values),
    }));
    await sealUnderActiveKey(parts, em, stored);
    for (const { keep, connection } of stored) await keep(em, () => snapshot(connection));
    await appendEvents(
      em,
      parts,
      orgId,
      stored.map(({ event }) => event),
    );
    return stored.map(({ connection }) => connection);
  });
}
