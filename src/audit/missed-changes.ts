import { setTimeout as sleep } from 'node:timers/promises';
import { type Logger, safeErrorFields } from '../common/log.ts';
import type { Database } from '../database/database.ts';
import { AuditHead } from './audit-event.entity.ts';

const intervalMs = 2_000;

/** The dependencies of `publishMissedChanges`. */
export interface MissedChangesDeps {
  database: Database;
  log: Logger;
}

/**
 * Publishes changes of other servers whose announcement was lost, e.g. because a server died after its commit. Every two
 * seconds, one statement reads the heads of the trails that have subscriptions.
 *
 * @returns a function that stops it
 */
export function publishMissedChanges({ database, log }: MissedChangesDeps): () => Promise<void> {
  const stopping = new AbortController();
  const { signal } = stopping;
  let previous = new Map<string, number>();
  const check = async () => {
    const orgIds = database.changes.subscribedOrganisations;
    const heads =
      orgIds.length > 0
        ? await database.asSystem().find(AuditHead, { orgId: { $in: orgIds } }, { fields: ['seq'] })
        : [];
    const current = new Map(heads.map(({ orgId, seq }) => [orgId, seq]));
    for (const [orgId, seq] of current) if (previous.get(orgId) !== seq) database.changes.publish(orgId);
    previous = current;
  };
  const run = async () => {
    while (!signal.aborted) {
      await check().catch((error: unknown) =>
        log.debug({ error: safeErrorFields(error) }, 'heads of audit trails could not be read'),
      );
      await sleep(intervalMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  };
  const running = run();
  return async () => {
    stopping.abort();
    await running;
  };
}
