import type { EntityManager, EventSubscriber, MikroORM } from '@mikro-orm/postgresql';
import { errorField } from '../common/error-field.ts';
import { StartupError } from '../common/errors.ts';
import type { Logger } from '../common/log.ts';
import { TenantUsage } from '../common/tenant-usage.ts';
import { migrate } from './apply-migrations.ts';
import { ChangeChannel } from './change-channel.ts';
import { OrganisationChangeNotifier } from './change-notifications.ts';
import { followDatabaseClock } from './clock.ts';
import { waitingCounts } from './driver/fair-pool.ts';
import { openDedicatedConnection } from './driver/query-pool.ts';
import {
  lazyScopedEntityManager,
  setStatementTimeout,
  systemSession,
  tenantSession,
  unauthenticatedSession,
} from './driver/session.ts';
import type { Pool, Result, Statement } from './driver/types.ts';
import type { DatabaseLocation, PostgresqlLocation } from './location.ts';
import { describeConnectionFailure, describeLocation } from './open-failure.ts';
import { type Entities, openOrm } from './open-orm.ts';
import { Primary } from './primary.ts';
import { openProbe } from './readiness-probe.ts';
import { createRowReader, type RowReader } from './row-reader.ts';
import { createStatementRunner, type StatementRunner } from './statement-runner.ts';

/** A statement with `?` for each parameter. */
export interface SqlStatement {
  sql: string;
  params: readonly unknown[];
}

/** An open database with all migrations applied. */
export interface Database extends RowReader {
  /**
   * Forks an entity manager that sees only the rows of this organisation, by row-level security. Never share one between
   * requests.
   */
  forOrganisation(orgId: string): EntityManager;
  /** Forks an entity manager that sees all organisations, for authentication, start-up and clean-up. */
  asSystem(): EntityManager;
  /** As `asSystem`, with a share of connections of its own, so that unknown credentials do not delay known callers. */
  asSystemForUnauthenticated(): EntityManager;
  /**
   * Notifies all servers that an organisation has changed: after the transaction of `em` has committed, or now if there is
   * none.
   */
  announce(em: EntityManager, orgId: string): void;
  /** Registers a subscriber to the events of all entity managers that are forked from now on. */
  subscribe(subscriber: EventSubscriber): void;
  /** The use of this server by each organisation. */
  usage: TenantUsage;
  /** Notifies of changes on all servers. */
  changes: OrganisationChangeNotifier;
  /**
   * A dedicated connection in the system's session, for rate limits. Absent on the embedded database, which has one server.
   */
  systemConnection?: { query(statement: Statement): Promise<Result> };
  /** The schema of the tables. */
  schema: string;
  /** Runs SQL of another library as the system, in a transaction of its own. */
  runAsSystem: StatementRunner;
  /**
   * Runs a statement of a readiness check as the system on a connection of its own, because all connections of the pool may
   * wait for a lock.
   */
  probe(sql: string): Promise<object[]>;
  /** The use of the pool; undefined on the embedded database, which has one connection. */
  readPoolUse(): Promise<PoolUse | undefined>;
  close(): Promise<void>;
}

/** The connections of the pool, and the tasks that wait for one. */
export interface PoolUse {
  used: number;
  idle: number;
  waiting: number;
}

/**
 * Opens the database and applies migrations.
 *
 * @throws StartupError with one line that says why it cannot be opened
 */
export async function openDatabase(
  location: DatabaseLocation,
  entities: Entities,
  log: Logger,
): Promise<Database> {
  if (location.kind === 'postgresql') setStatementTimeout(location.statementTimeoutMs);
  const usage = new TenantUsage();
  const isEmbedded = location.kind === 'embedded';
  const primary = isEmbedded
    ? undefined
    : await describingFailure(location, () => Primary.find(location, log));
  const direct = isEmbedded ? undefined : toDirectLocation(location);
  const directPrimary =
    direct &&
    (await describingFailure(direct, () => Primary.find(direct, log, directSetting), directSetting));
  if (directPrimary && directPrimary.server.databaseId !== primary?.server.databaseId)
    throw new StartupError(`${directSetting} must lead to the same database as DATABASE_URL`);
  const orm = await describingFailure(location, () =>
    openOrm(location, entities, log, { primary, usage, preparesStatements: !primary?.server.isPooled }),
  );
  const changes = new OrganisationChangeNotifier();
  const listening = directPrimary ?? (primary?.server.isPooled ? undefined : primary);
  // Without a channel, `publishMissedChanges` finds the changes of other servers.
  const channel = listening && new ChangeChannel(listening, changes, log);
  const probe = primary && openProbe(primary);
  let stopClock: (() => void) | undefined;
  try {
    if (direct) await migrateDirectly(direct, directPrimary, entities, log);
    else await describingFailure(location, () => migrate(orm, location));
    await describingFailure(direct ?? location, async () => channel?.open(), direct && directSetting);
    // The embedded database has the clock of this process.
    stopClock = await describingFailure(
      location,
      async () => probe && followDatabaseClock((sql) => probe.query(sql), log),
    );
  } catch (error) {
    await channel?.close();
    await probe?.close();
    await orm.close(true);
    throw error;
  }
  const announce = (orgId: string) => (channel ? channel.announce(orgId) : changes.publish(orgId));
  const announceAfterCommit = watchCommits(orm, announce);
  // A dedicated connection, so that rate limits never wait for connections that requests hold.
  const systemConnection = isEmbedded
    ? undefined
    : openDedicatedConnection(() => orm.em.getConnection().getNativeClient(), systemSession);
  const forkAsSystem = () => lazyScopedEntityManager(() => orm.em.fork(), systemSession);
  return {
    ...createRowReader(orm, isEmbedded, log),
    forOrganisation: (orgId) => lazyScopedEntityManager(() => orm.em.fork(), tenantSession(orgId)),
    asSystem: forkAsSystem,
    asSystemForUnauthenticated: () => lazyScopedEntityManager(() => orm.em.fork(), unauthenticatedSession),
    announce: (em, orgId) => (em.isInTransaction() ? announceAfterCommit(em, orgId) : announce(orgId)),
    subscribe: (subscriber) => orm.em.getEventManager().registerSubscriber(subscriber),
    usage,
    changes,
    ...(systemConnection && { systemConnection }),
    schema: primary?.server.schema ?? 'public',
    runAsSystem: createStatementRunner(orm, isEmbedded),
    // The embedded database has one connection, and no other process can lock its tables.
    probe: (sql) => (probe ? probe.query(sql) : forkAsSystem().execute(sql)),
    readPoolUse: async () => {
      if (isEmbedded) return undefined;
      const pool: Pool = await orm.em.getConnection().getNativeClient();
      const { totalCount, idleCount } = pool;
      return { used: totalCount - idleCount, idle: idleCount, waiting: waitingCounts.get(pool)?.() ?? 0 };
    },
    close: async () => {
      changes.close();
      stopClock?.();
      await channel?.close();
      await probe?.close();
      await systemConnection?.release();
      await orm.close(true);
    },
  };
}

/**
 * Calls a function with each changed organisation after the commit of its transaction.
 *
 * @returns a function that marks an organisation as changed by the transaction of `em`
 */
function watchCommits(
  orm: MikroORM,
  onCommit: (orgId: string) => void,
): (em: EntityManager, orgId: string) => void {
  const changed = new WeakMap<object, Set<string>>();
  orm.em.getEventManager().registerSubscriber({
    afterTransactionCommit: ({ em }) => {
      for (const orgId of changed.get(em) ?? []) onCommit(orgId);
      changed.delete(em);
    },
    afterTransactionRollback: ({ em }) => void changed.delete(em),
  });
  return (em, orgId) => void changed.set(em, (changed.get(em) ?? new Set()).add(orgId));
}

/** The location past a pooler, if there is one. */
function toDirectLocation({ directUrl, ...location }: PostgresqlLocation): PostgresqlLocation | undefined {
  return directUrl && { ...location, url: directUrl };
}

/** Applies migrations past a pooler, because poolers may limit the time of a statement. */
async function migrateDirectly(
  location: PostgresqlLocation,
  primary: Primary | undefined,
  entities: Entities,
  log: Logger,
): Promise<void> {
  const run = async () => {
    const orm = await openOrm(location, entities, log, { primary });
    await migrate(orm, location).finally(() => orm.close(true));
  };
  await describingFailure(location, run, directSetting);
}

const directSetting = 'DATABASE_DIRECT_URL';

/** Converts an error of opening a database to a StartupError, which names the setting that leads to it. */
async function describingFailure<T>(
  location: DatabaseLocation,
  task: () => Promise<T>,
  setting = describeLocation(location),
): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (error instanceof StartupError || isMissingModule(error)) throw error;
    throw new StartupError(`${setting}: ${describeConnectionFailure(error, location.kind)}`);
  }
}

function isMissingModule(error: unknown): boolean {
  return errorField(error, 'code') === 'ERR_MODULE_NOT_FOUND';
}
