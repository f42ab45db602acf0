import { entities } from '../../src/bootstrap/entities.ts';
import { createLog } from '../../src/common/log.ts';
import { lazyScopedEntityManager, ownerSession } from '../../src/database/driver/session.ts';
import type { DatabaseLocation } from '../../src/database/location.ts';
import { openOrm } from '../../src/database/open-orm.ts';

/** Executes a statement on a database that no server uses, as an administrator of the database would. */
export async function executeAsOwner<Row extends object>(
  location: DatabaseLocation,
  sql: string,
): Promise<Row[]> {
  const orm = await openOrm(location, entities, createLog('silent'));
  try {
    return await lazyScopedEntityManager(() => orm.em.fork(), ownerSession).execute<Row[]>(sql);
  } finally {
    await orm.close(true);
  }
}
