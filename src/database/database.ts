import { Migrator } from '@mikro-orm/migrations';
import type { EntityManager, EventSubscriber, MikroORM, Options } from '@mikro-orm/postgresql';
import { StartupError } from '../common/errors.ts';
import type { Logger } from '../common/log.ts';
import { changesChannel, OrganisationChangeNotifier, startListening } from './change-notifications.ts';
import { withBoundParameters } from './driver/bind-parameters.ts';
import { instrumentPool, openDedicatedConnection, withoutStatementTimeout } from './driver/pool.ts';
import {
  inSession,
  lazyScopedEntityManager,
  ownerSession,
  statementTimeoutMs,
  systemSession,
  tenantSession,
  unauthenticatedSession,
} from './driver/session.ts';
import type { Statement } from './driver/types.ts';
import { openEmbedded } from './embedded.ts';
import type { DatabaseLocation } from './location.ts';
import { migrations } from './migrations/list.ts';
import { describeConnectionFailure, describeLocation } from './open-failure.ts';
import { openProbe } from './readiness-probe.ts';
import { createRowReader, type RowReader } from './row-reader.ts';

/** The entity classes to map. */
export type Entities = NonNullable<Options['entities']>;

/** A statement with `?` for each value. */
export interface SqlStatement {
  sql: string;
  params: readonly unknown[];
}

/** An open database with all migrations done. */
export interface Database extends RowReader {
  /**
   * A fresh unit of work in which PostgreSQL itself shows the rows of this organisation and no others. Make one for each
   * piece of work, never share one between requests.
   */
  forOrganisation(orgId: string): EntityManager;
  /** A fresh unit of work across all organisations, for what is done on behalf of none: signing in, clearing up. */
  asSystem(): EntityManager;
  /** The same for finding out who a stranger is: it never takes a connection from signing in those who are known. */
  asSystemForUnauthenticated(): EntityManager;
  /**
   * Makes changes, if any, in one statement that does them all, and says to all servers, once the transaction of `em` is
   * committed, that something of the organisation has changed. None of the changes sees what another one does.
   *
   * @param look what to look up in the same statement; it does not see the changes either
   * @returns the rows that were found
   */
  executeAndNotify(
    em: EntityManager,
    orgId: string,
    changes: readonly SqlStatement[],
    look?: SqlStatement,
  ): Promise<object[]>;
  /** Has a subscriber hear of what entities are written from now on. */
  subscribe(subscriber: EventSubscriber): void;
  /** Hears, from all servers, that something has changed. */
  changes: OrganisationChangeNotifier;
  /**
   * For libraries that bring their own SQL: their statements are the system's. Absent on the embedded database, which
   * no two servers share.
   */
  shared?: { query(statement: Statement): Promise<unknown> };
  /**
   * Runs a statement of a readiness check as the system, over a connection that requests never take: a pool whose
   * connections all wait for a lock answers nobody.
   */
  probe(sql: string): Promise<object[]>;
  close(): Promise<void>;
}

// Any constant will do, so long as every server of ours uses the same and nobody else does.
const startLock = 4_216_017_333;

/**
 * Opens the database.
 *
 * @throws StartupError with one line that says why it cannot be opened
 */
export async function openDatabase(
  location: DatabaseLocation,
  entities: Entities,
  log: Logger,
): Promise<Database> {
  const cannotOpen = (error: unknown) =>
    error instanceof StartupError || isMissingModule(error)
      ? error
      : new StartupError(`${describeLocation(location)}: ${describeConnectionFailure(error, location)}`);
  const orm = await openOrm(location, entities, log).catch((error: unknown) => {
    throw cannotOpen(error);
  });
  try {
    await withoutStatementTimeout(() => inSession(ownerSession, () => migrate(orm, location)));
  } catch (error) {
    await orm.close(true);
    throw cannotOpen(error);
  }
  const changes = new OrganisationChangeNotifier();
  const isEmbedded = location.kind === 'embedded';
  if (!isEmbedded) await startListening(orm, changes, log);
  // Else each of their statements would take a connection out of the session in which the next one is to run.
  const shared = isEmbedded
    ? undefined
    : openDedicatedConnection(() => orm.em.getConnection().getNativeClient(), systemSession);
  const probe = location.kind === 'postgresql' ? openProbe(location.url.reveal()) : undefined;
  const forkAcross = () => lazyScopedEntityManager(() => orm.em.fork(), systemSession);
  return {
    ...createRowReader(orm, isEmbedded, log),
    forOrganisation: (orgId) => lazyScopedEntityManager(() => orm.em.fork(), tenantSession(orgId)),
    asSystem: forkAcross,
    asSystemForUnauthenticated: () => lazyScopedEntityManager(() => orm.em.fork(), unauthenticatedSession),
    executeAndNotify: async (em, orgId, made, look) => {
      const parts = made.map(({ sql }, index) => `change_${index} as (${sql})`).join(', ');
      const seen = look ? `(select json_agg(seen) from (${look.sql}) seen)` : 'null';
      const [row]: { seen: object[] | null }[] = await em.execute(
        `${parts && `with ${parts}`} select pg_notify(?, ?), ${seen} as seen`,
        [...made.flatMap(({ params }) => params), changesChannel, orgId, ...(look?.params ?? [])],
      );
      // With one server and one connection, whoever hears of it has to wait for the transaction to look.
      if (isEmbedded) changes.publish(orgId);
      return row?.seen ?? [];
    },
    subscribe: (subscriber) => orm.em.getEventManager().registerSubscriber(subscriber),
    changes,
    ...(shared && { shared }),
    // The embedded database has one connection, and nobody outside of this process to lock its tables.
    probe: (sql) => (probe ? probe.query(sql) : forkAcross().execute(sql)),
    close: async () => {
      changes.close();
      await probe?.close();
      await shared?.release();
      await orm.close(true);
    },
  };
}

async function migrate(orm: MikroORM, location: DatabaseLocation): Promise<void> {
  await assertServerVersion(orm);
  // The embedded database has one connection, which the lock would take from the migrations; and one server.
  if (location.kind === 'embedded') await orm.migrator.up();
  else await withStartupLock(orm.em.fork(), () => orm.migrator.up());
}

/** Runs what only one server may do at a time while starting, in one transaction under one lock. */
export async function withStartupLock<T>(
  em: EntityManager,
  work: (em: EntityManager) => Promise<T>,
): Promise<T> {
  const locking = async (locked: EntityManager) => {
    // Another server's migrations may take longer than a statement otherwise may.
    await locked.execute('set local statement_timeout = 0');
    await locked.execute(`select pg_advisory_xact_lock(${startLock})`);
    return work(locked);
  };
  return withoutStatementTimeout(() => em.transactional(locking));
}

/** Connects without migrating. */
export async function openOrm(
  location: DatabaseLocation,
  entities: Entities,
  log: Logger,
): Promise<MikroORM> {
  const shared = {
    entities,
    extensions: [Migrator],
    migrations: { migrationsList: migrations, snapshot: false, silent: true },
    // Triggers are made by migrations; the ORM does not recognise its own when it reads them back.
    schemaGenerator: { ignoreTriggers: true },
    debug: log.isLevelEnabled('trace') ? ['query'] : false,
    colors: false,
    logger: (message: string) => log.trace(message),
  } satisfies Partial<Options>;

  if (location.kind === 'postgresql') {
    const { MikroORM, PostgreSqlConnection, PostgreSqlDriver } = await import('@mikro-orm/postgresql');
    return MikroORM.init({
      ...shared,
      driver: withBoundParameters(PostgreSqlDriver, PostgreSqlConnection),
      clientUrl: location.url.reveal(),
      ensureDatabase: false,
      driverOptions: {
        // The driver reads the whole URL, sslmode and all; the ORM only host, user and database.
        connectionString: location.url.reveal(),
        connectionTimeoutMillis: 5_000,
        statement_timeout: statementTimeoutMs,
        idle_in_transaction_session_timeout: 60_000,
        onPoolCreated: instrumentPool,
      },
    });
  }
  return openEmbedded(shared, location);
}

async function assertServerVersion(orm: MikroORM): Promise<void> {
  const { version } = await orm.em
    .fork()
    .execute<{ version: number }>("select current_setting('server_version_num')::int as version", [], 'get');
  if (version < 150_000) {
    throw new StartupError(
      `DATABASE_URL: PostgreSQL 15 or newer is needed; this is ${Math.floor(version / 10_000)}.`,
    );
  }
}

function isMissingModule(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'ERR_MODULE_NOT_FOUND';
}
