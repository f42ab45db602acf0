import type { EntityManager } from '@mikro-orm/postgresql';
import { withoutStatementTimeout } from './driver/session.ts';

// An arbitrary constant that all servers of this program share.
const startLock = 4_216_017_333;

/** Runs a start-up task in a transaction, while no other server runs one. */
export async function withStartupLock<T>(
  em: EntityManager,
  task: (em: EntityManager) => Promise<T>,
): Promise<T> {
  const runLocked = async (tx: EntityManager) => {
    // Migrations of another server may take longer than `statement_timeout`.
    await tx.execute('set local statement_timeout = 0');
    await tx.execute(`select pg_advisory_xact_lock(${startLock})`);
    return task(tx);
  };
  return withoutStatementTimeout(() => em.transactional(runLocked));
}
