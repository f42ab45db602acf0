import { createHash } from 'node:crypto';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { compareVersions } from '../common/compare-versions.ts';
import { errorField } from '../common/error-field.ts';
import { StartupError } from '../common/errors.ts';
import { version } from '../common/server-identity.ts';
import { inSession, ownerSession, roles, withoutStatementTimeout } from './driver/session.ts';
import type { DatabaseLocation } from './location.ts';
import { migrations } from './migrations/list.ts';
import { describeLocation } from './open-failure.ts';
import { withStartupLock } from './startup-lock.ts';

/** A row of MikroORM's table of applied migrations, to which this server adds columns. */
interface AppliedMigration {
  name: string;
  checksum: string | null;
  /** As the version that has the migration declares it. */
  oldest_server: string | null;
}

/**
 * Applies the migrations as the user that connects, while no other server does.
 *
 * @throws StartupError as `applyMigrations`
 */
export async function migrate(orm: MikroORM, location: DatabaseLocation): Promise<void> {
  const apply = (em: EntityManager) => applyMigrations(orm, em, describeLocation(location));
  const run = async () => {
    // Creates the table of applied migrations, outside of the transaction below.
    await orm.migrator.getExecuted().catch((error: unknown) => {
      // Another server has just created it.
      if (!createdMeanwhileCodes.has(errorField(error, 'code') ?? '')) throw error;
    });
    // The embedded database has one server, and one connection, which the lock would occupy.
    if (location.kind === 'embedded') await apply(orm.em.fork());
    else await withStartupLock(orm.em.fork(), apply);
  };
  await withoutStatementTimeout(() => inSession(ownerSession, run));
}

/** PostgreSQL's `duplicate_table` and `unique_violation`, for the row of the table's type. */
const createdMeanwhileCodes = new Set(['42P07', '23505']);

/**
 * Checks the migrations that a database has against those of this version, and applies the others. The first version with
 * checksums adds those of the migrations that were applied before.
 *
 * @param em runs in the transaction that holds the lock, except on the embedded database
 * @param place describes the database for errors
 * @throws StartupError if a newer version has migrated the database and does not accept servers of this one, if an applied migration has changed, or if the roles are
 *   missing
 */
async function applyMigrations(orm: MikroORM, em: EntityManager, place: string): Promise<void> {
  const checksums = await computeChecksums(orm);
  await addColumns(em);
  const applied = await em.execute<AppliedMigration[]>(
    'select "name", "checksum", "oldest_server" from "mikro_orm_migrations"',
  );
  for (const each of applied) assertNotNewer(each, place);
  assertUnchanged(applied, checksums, place);
  if (applied.some(({ name }) => name === '0005-access')) await assertRoles(em, place);
  // On the connection that holds the lock: it is never idle, and a pooler may have only one.
  const transaction = em.getTransactionContext();
  await orm.migrator.up(transaction && { transaction });
  await em.execute(
    `update "mikro_orm_migrations" set "checksum" = "value" from json_each_text(?::json)
      where "name" = "key" and "checksum" is null`,
    [JSON.stringify(Object.fromEntries(checksums))],
  );
  await em.execute(
    `update "mikro_orm_migrations" set "oldest_server" = "value" from json_each_text(?::json)
      where "name" = "key" and "oldest_server" is distinct from "value"`,
    [JSON.stringify(Object.fromEntries(migrations.map(({ name, oldestServer }) => [name, oldestServer])))],
  );
}

/** The migrations of a database, compared with those of this version, by name. */
export interface MigrationComparison {
  /** The number of applied migrations of this version. */
  applied: number;
  pending: string[];
  /** Those whose checksum differs. */
  changed: string[];
  /** Those of newer versions that do not accept servers of this one. */
  unknown: string[];
  /** Those of newer versions that accept servers of this one. */
  accepting: string[];
}

/** Compares the migrations of a database with those of this version, and changes nothing. */
export async function compareMigrations(orm: MikroORM, em: EntityManager): Promise<MigrationComparison> {
  const checksums = await computeChecksums(orm);
  // Before its first migration by a version with checksums, the table has no such column.
  const rows = await em.execute<{ row: AppliedMigration }[]>(
    'select to_jsonb("m") as "row" from "mikro_orm_migrations" as "m" order by "name"',
  );
  const stored = new Map(rows.map(({ row }) => [row.name, row.checksum ?? null]));
  const names = [...checksums.keys()];
  const newer = rows.map(({ row }) => row).filter(isNewer);
  return {
    applied: names.filter((name) => stored.has(name)).length,
    pending: names.filter((name) => !stored.has(name)),
    changed: names.filter((name) => stored.get(name) != null && stored.get(name) !== checksums.get(name)),
    unknown: newer.filter((each) => !acceptsThisServer(each)).map(({ name }) => name),
    accepting: newer.filter(acceptsThisServer).map(({ name }) => name),
  };
}

/**
 * Lists the migrations of newer versions that a database has.
 *
 * @param em reads as the user that connects
 */
export async function listNewerMigrations(em: EntityManager): Promise<string[]> {
  const rows = await em.execute<{ name: string }[]>(
    'select "name" from "mikro_orm_migrations" order by "name"',
  );
  return rows.filter(isNewer).map(({ name }) => name);
}

/** Computes the checksum of each migration's statements, in which the amount of white space does not count. */
async function computeChecksums(orm: MikroORM): Promise<ReadonlyMap<string, string>> {
  const checksums = new Map<string, string>();
  for (const { name, class: Migration } of migrations) {
    const migration = new Migration(orm.em.getDriver(), orm.config);
    await migration.up();
    const statements = migration.getQueries().map((sql) => String(sql).replace(/\s+/g, ' ').trim());
    checksums.set(name, createHash('sha256').update(JSON.stringify(statements)).digest('hex'));
  }
  return checksums;
}

const addedColumns = ['checksum', 'oldest_server'];

async function addColumns(em: EntityManager): Promise<void> {
  const found = await em.execute<{ name: string }[]>(
    `select "attname" as "name" from "pg_attribute" where "attrelid" = 'mikro_orm_migrations'::regclass`,
  );
  for (const column of addedColumns)
    if (!found.some(({ name }) => name === column))
      await em.execute(`alter table "mikro_orm_migrations" add column "${column}" text null`);
}

const knownNames: ReadonlySet<string> = new Set(migrations.map(({ name }) => name));

/** Other programs that use MikroORM in the same schema name their migrations differently. */
function isNewer({ name }: Pick<AppliedMigration, 'name'>): boolean {
  return /^\d{4}-/.test(name) && !knownNames.has(name);
}

function acceptsThisServer({ oldest_server: oldest }: Partial<AppliedMigration>): boolean {
  return oldest != null && compareVersions(version, oldest) >= 0;
}

function assertNotNewer(applied: AppliedMigration, place: string): void {
  if (!isNewer(applied) || acceptsThisServer(applied)) return;
  const { name, oldest_server: oldest } = applied;
  if (oldest == null)
    throw new StartupError(
      `${place}: a newer version of the server has migrated it (${name}); start that version, or restore a backup from before`,
    );
  throw new StartupError(
    `${place}: this server, ${version}, is older than it by more than one release: the migration ${name} accepts servers from ${oldest} on; start one of those, or restore a backup from before`,
  );
}

function assertUnchanged(
  applied: readonly AppliedMigration[],
  checksums: ReadonlyMap<string, string>,
  place: string,
): void {
  for (const { name, checksum } of applied) {
    const expected = checksums.get(name);
    if (expected !== undefined && checksum !== null && checksum !== expected) {
      throw new StartupError(
        `${place}: the migration ${name} has changed since it was applied; start a server with the unchanged migration`,
      );
    }
  }
}

/** Checks what a restored dump lacks if the roles did not exist, because roles are no part of a dump of one database. */
async function assertRoles(em: EntityManager, place: string): Promise<void> {
  const names = Object.values(roles);
  const [found] = await em.execute<[{ roles: number; granted: number; policies: number }]>(
    `select count("oid")::int as "roles",
        count(*) filter (where pg_has_role(current_user, "oid", case
          when current_setting('server_version_num')::int >= 160000 then 'set' else 'member' end))::int as "granted",
        (select count(*) from "pg_policy" where "polrelid" = 'app_connection'::regclass)::int as "policies"
      from "pg_roles" where "rolname" in (?)`,
    [names],
  );
  const list = names.join(' and ');
  if (found.roles < names.length || found.policies === 0) {
    throw new StartupError(
      `${place}: it was restored without the roles ${list}; create them as docs/operations/postgresql.md says, and restore the backup again`,
    );
  }
  if (found.granted < names.length) {
    throw new StartupError(
      `${place}: this user is not a member of ${list}; docs/operations/postgresql.md has the SQL with which an administrator grants them`,
    );
  }
}
