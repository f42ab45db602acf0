import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { compareMigrations } from '../../database/apply-migrations.ts';
import { measureOffset } from '../../database/clock.ts';
import { writabilityColumns } from '../../database/find-server.ts';
import { createFindings, type Finding } from './finding.ts';

const { ok, warning, problem, skipped } = createFindings('database');

/** A difference of clocks that is worth a warning, in milliseconds. */
const notableOffsetMs = 1_000;

interface Facts {
  version: string;
  encoding: string;
  user: string;
  isStandby: boolean;
  isReadOnly: boolean;
  isMigrated: boolean;
}

/** The findings about the database, and whether its tables are those of this version. */
export interface DatabaseReport {
  findings: Finding[];
  isUpToDate: boolean;
}

/**
 * Checks version, encoding, writability, clock and migrations of the database, and changes nothing.
 *
 * @param em reads as the user that connects
 */
export async function checkDatabase(orm: MikroORM, em: EntityManager): Promise<DatabaseReport> {
  const [facts] = await em.execute<[Facts]>(
    `select current_setting('server_version') as "version", current_setting('server_encoding') as "encoding",
      current_user as "user", ${writabilityColumns},
      to_regclass('mikro_orm_migrations') is not null as "isMigrated"`,
  );
  const findings = [ok(`PostgreSQL ${facts.version}, as user "${facts.user}".`)];
  if (facts.encoding !== 'UTF8')
    findings.push(
      problem(
        `The encoding is ${facts.encoding}.`,
        'Create the database with encoding UTF8, and restore into it.',
      ),
    );
  if (facts.isStandby || facts.isReadOnly)
    findings.push(
      problem(
        `The server accepts no changes: ${facts.isStandby ? 'it is a standby' : 'its transactions are read-only'}.`,
        'Connect to the primary, or name all servers in DATABASE_URL.',
      ),
    );
  else findings.push(ok('The server accepts changes.'));
  findings.push(describeClock(await measureOffset((sql) => em.execute(sql))));
  if (!facts.isMigrated) {
    findings.push(warning('The database has no tables yet.', 'Start the server, or run "migrate".'));
    return { findings, isUpToDate: false };
  }
  const migrations = await checkMigrations(orm, em);
  return {
    findings: [...findings, ...migrations],
    isUpToDate: migrations.every(({ status }) => status === 'ok'),
  };
}

function describeClock(offsetMs: number): Finding {
  const clock = createFindings('clock');
  if (Math.abs(offsetMs) < notableOffsetMs)
    return clock.ok('The clocks of this machine and of the database agree.');
  return clock.warning(
    `The clock of this machine differs from that of the database by ${Math.round(Math.abs(offsetMs) / 1_000)} s.`,
    'Synchronise both with NTP. Servers use the clock of the database.',
  );
}

async function checkMigrations(orm: MikroORM, em: EntityManager): Promise<Finding[]> {
  const { ok, warning, problem } = createFindings('migrations');
  const { applied, pending, changed, unknown, accepting } = await compareMigrations(orm, em);
  const list = (names: readonly string[]) => names.join(', ');
  return [
    ...(unknown.length > 0
      ? [problem(`A newer version has migrated the database: ${list(unknown)}.`, 'Use that version.')]
      : []),
    ...(accepting.length > 0
      ? [
          ok(
            `A newer version has migrated the database, and accepts servers of this one: ${list(accepting)}.`,
          ),
        ]
      : []),
    ...(changed.length > 0
      ? [
          problem(
            `These migrations differ from those that were applied: ${list(changed)}.`,
            'Use a release whose migrations are unchanged.',
          ),
        ]
      : []),
    ...(pending.length > 0
      ? [
          warning(
            `These migrations are not applied yet: ${list(pending)}.`,
            'Start the server, or run "migrate".',
          ),
        ]
      : [ok(`All ${applied} migrations are applied, with their checksums.`)]),
  ];
}

/** The finding if the database cannot be opened. */
export function databaseNotOpened(reason: string): Finding {
  return problem(reason, 'Correct the setting that the message names, or start the database.');
}

/** The finding if another process uses the embedded database. */
export function databaseInUse(reason: string): Finding {
  return skipped(`${reason}. Stop the server to check its database and keys.`);
}

/** The finding if there is no embedded database. */
export function databaseMissing(folder: string): Finding {
  return warning(`There is no database in ${folder} yet.`, 'Start the server, which creates it.');
}
