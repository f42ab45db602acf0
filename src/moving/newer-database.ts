import { StartupError } from '../common/errors.ts';
import { listNewerMigrations } from '../database/apply-migrations.ts';
import type { Database } from '../database/database.ts';
import { lazyScopedEntityManager, ownerSession } from '../database/driver/session.ts';

/**
 * Refuses to move organisations of a database that a newer version has migrated: this version would leave out tables that it does not
 * know.
 *
 * @throws StartupError
 */
export async function assertNotNewer(database: Pick<Database, 'asSystem'>): Promise<void> {
  const em = lazyScopedEntityManager(() => database.asSystem().fork(), ownerSession);
  const newer = await listNewerMigrations(em);
  if (newer.length === 0) return;
  throw new StartupError(
    `a newer version of the server has migrated the database (${newer.join(', ')}); use the command of that version`,
  );
}
