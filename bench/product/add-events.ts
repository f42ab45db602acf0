import { appendEvents, type RecordedEvent } from '../../src/audit/hash-chain.ts';
import { openStores } from '../../src/bootstrap/stores.ts';
import { createLog } from '../../src/common/log.ts';
import { readConfig } from '../../src/config/read-config.ts';
import type { Organisation } from '../peers/fixture.ts';

const eventsPerTransaction = 2_000;

/** A database with audit trails, and the settings of its server. */
export interface Trail {
  database: string;
  environment: Record<string, string>;
}

/**
 * Adds events of the connections of an organisation to its trail.
 *
 * @param kinds what the events have in turn, by default that of a verification
 * @returns the number of the last event before them
 */
export async function addEvents(
  { environment }: Trail,
  { ids }: Pick<Organisation, 'ids'>,
  count: number,
  kinds: readonly Partial<RecordedEvent>[] = [{}],
): Promise<number> {
  const config = readConfig({ NODE_ENV: 'production', ...environment });
  const { database, vault, unlock, close } = await openStores(config, createLog('silent'));
  await unlock();
  const [{ orgId, seq }] = await database.asSystem().execute<[{ orgId: string; seq: number }]>(
    `select audit_head.org_id as "orgId", seq from audit_head
        join app_connection on app_connection.org_id = audit_head.org_id where app_connection.id = ?`,
    [ids[0]],
  );
  const actor = { orgId, keyId: null, subject: null, address: null, requestId: null };
  const event = { ...actor, action: 'VERIFY_CONNECTION', outcome: 'OK' } as const;
  for (let added = 0; added < count; added += eventsPerTransaction) {
    const events = Array.from({ length: Math.min(eventsPerTransaction, count - added) }, (_, index) => ({
      ...event,
      fields: ['verification'],
      ...kinds[index % kinds.length],
      connectionId: ids[index % ids.length] ?? null,
    }));
    await database
      .forOrganisation(orgId)
      .transactional((em) => appendEvents(em, { database, vault }, orgId, events));
  }
  await close();
  return seq;
}
