import { createHash } from 'node:crypto';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { errorField } from '../common/error-field.ts';
import { StartupError } from '../common/errors.ts';
import { inSession, ownerSession, roles, withoutStatementTimeout } from './driver/session.ts';
import type { DatabaseLocation } from './location.ts';
import { migrations } from './migrations/list.ts';
import { describeLocation } from './open-failure.ts';
import { withStartupLock } from './startup-lock.ts';

/** A row of MikroORM's table of applied migrations, which has a column for the checksum. */
interface AppliedMigration {
  name: string;
  checksum: string | null;
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
 * @throws StartupError if a newer version has migrated the database, if an applied migration has changed, or if the roles are
 *   missing
 */
async function applyMigrations(orm: MikroORM, em: EntityManager, place: string): Promise<void> {
  const checksums = await computeChecksums(orm);
  await addChecksumColumn(em);
  const applied = await em.execute<AppliedMigration[]>(
    'select "name", "checksum" from "mikro_orm_migrations"',
  );
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
}

/** The migrations of a database, compared with those of this version, by name. */
export interface MigrationComparison {
  /** The number of applied migrations of this version. */
  applied: number;
  pending: string[];
  /** Those whose checksum differs. */
  changed: string[];
  /** Those that this version does not have. */
  unknown: string[];
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
  return {
    applied: names.filter((name) => stored.has(name)).length,
    pending: names.filter((name) => !stored.has(name)),
    changed: names.filter((name) => stored.get(name) != null && stored.get(name) !== checksums.get(name)),
    unknown: [...stored.keys()].filter((name) => /^\d{4}-/.test(name) && !checksums.has(name)),
  };
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

async function addChecksumColumn(em: EntityManager): Promise<void> {
  const found = await em.execute<object[]>(
    `select from "pg_attribute" where "attrelid" = 'mikro_orm_migrations'::regclass and "attname" = 'checksum'`,
  );
  if (found.length === 0)
    await em.execute('alter table "mikro_orm_migrations" add column "checksum" text null');
}

function assertUnchanged(
  applied: readonly AppliedMigration[],
  checksums: ReadonlyMap<string, string>,
  place: string,
): void {
  for (const { name, checksum } of applied) {
    const expected = checksums.get(name);
    // Other programs that use MikroORM in the same schema name their migrations differently.
    if (expected === undefined && /^\d{4}-/.test(name)) {
      throw new StartupError(
        `${place}: a newer version of the server has migrated it (${name}); start that version, or restore a backup from before`,
      );
    }
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
