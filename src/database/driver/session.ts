import { AsyncLocalStorage } from 'node:async_hooks';
import type { EntityManager } from '@mikro-orm/postgresql';
import { currentBackgroundWork } from './background-work.ts';

/**
 * The roles under which statements run. Neither is a superuser or owns a table, so that row-level security applies to
 * both. Migrations grant each role its privileges on tables. Only migrations run as the user that connects.
 */
export const roles = {
  /** Serves requests and sees the rows of one organisation. */
  tenant: 'app_connections_tenant',
  /** Works across organisations: authentication, start-up, clean-up. */
  system: 'app_connections_system',
} as const;

/** The PostgreSQL setting with the organisation whose rows are visible; row-level security policies read it. */
export const organisationSetting = 'app_connections.org_id';

/**
 * The role and organisation of a database connection. MikroORM's `sessionContext` costs a transaction or three statements
 * for each statement, so this module has its own (docs/adr/0002-row-level-security.md). Remove it when `sessionContext` needs
 * neither.
 */
export interface Session {
  /** `none` stands for the user that connects. */
  role: (typeof roles)[keyof typeof roles] | 'none';
  /** Empty if no organisation's rows are visible. */
  orgId: string;
  /** Whether statements read a range of an index in its order, with a short time-out. */
  isScan?: boolean;
  /** The tenant of the fair queue for connections of a request; by default the organisation or, without one, the role. */
  tenant?: string;
}

/** The session of the user that connects, who owns the tables. */
export const ownerSession: Session = { role: 'none', orgId: '' };

/** The session of the system, which sees all organisations. */
export const systemSession: Session = { role: roles.system, orgId: '' };

/** The session that looks up unknown credentials. All unauthenticated clients together have one share of the connections. */
export const unauthenticatedSession: Session = { ...systemSession, tenant: 'unauthenticated' };

/** The session of requests of an organisation. */
export function tenantSession(orgId: string): Session {
  return { role: roles.tenant, orgId };
}

/**
 * The session of a statement that reads rows of several organisations with a function, which applies row-level security for one
 * after the other. Outside of the function, no organisation's rows are visible. All such statements have one share of the connections.
 */
export const organisationsSession: Session = { ...tenantSession(''), tenant: 'organisations' };

/** The session of a statement that reads a range of an index in its order. */
export function scanSession(orgId: string): Session {
  return { ...tenantSession(orgId), isScan: true };
}

/** The default outside of `inSession`: a statement sees no rows. */
const noOrganisation: Session = tenantSession('');

/** Counts the connections that a task and its nested tasks hold now. */
export interface ConnectionHolder {
  connections: number;
}

const sessions = new AsyncLocalStorage<{ session: Session; holder: ConnectionHolder }>();

/** Returns the session of statements that run now. */
export function currentSession(): Session {
  return sessions.getStore()?.session ?? noOrganisation;
}

/** Returns the tenant of the fair queue on whose behalf a connection is acquired now. */
export function currentTenant(): string {
  const { tenant, orgId, role } = currentSession();
  return currentBackgroundWork() ?? tenant ?? (orgId || role);
}

/** Returns the connection count of the current task. */
export function currentHolder(): ConnectionHolder {
  return sessions.getStore()?.holder ?? { connections: 0 };
}

/** Runs a task whose statements run in this session. */
export function inSession<T>(session: Session, task: () => T): T {
  return sessions.run({ session, holder: currentHolder() }, task);
}

/**
 * Returns an entity manager whose statements all run in this session. It calls `fork` on first use, because many requests
 * never use theirs.
 */
export function lazyScopedEntityManager(fork: () => EntityManager, session: Session): EntityManager {
  let forked: EntityManager | undefined;
  return new Proxy({} as EntityManager, {
    get(_, name) {
      forked ??= fork();
      const em = forked;
      const member = Reflect.get(em, name, em);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]) => inSession(session, () => member.apply(em, args));
    },
  });
}

const untimedTasks = new AsyncLocalStorage<true>();

/** Runs a task whose statements may take any time, such as migrations. */
export function withoutStatementTimeout<T>(task: () => T): T {
  return untimedTasks.run(true, task);
}

/** Whether statements that run now may take any time. */
export function isUntimed(): boolean {
  return untimedTasks.getStore() ?? false;
}

const defaultStatementTimeoutMs = 10_000;
/** `statement_timeout` of a statement, lock waits included, in milliseconds. */
export let statementTimeoutMs = defaultStatementTimeoutMs;
/** Sets the time-out of this process, which uses one database. */
export function setStatementTimeout(ms = defaultStatementTimeoutMs): void {
  statementTimeoutMs = ms;
}

/** `statement_timeout` of a scan, in milliseconds. */
const scanTimeoutMs = 2_000;

/** `idle_in_transaction_session_timeout`, in milliseconds. */
const idleInTransactionTimeoutMs = 60_000;

const settings = ['role', organisationSetting, 'statement_timeout'];
const scanSettings = [...settings, 'enable_sort', 'enable_bitmapscan'];

function setConfigSql(names: readonly string[], isLocal: boolean): string {
  return `select ${names.map((name, index) => `set_config('${name}', $${index + 1}, ${isLocal})`).join(', ')}`;
}

const forStatement = { name: 'session', text: setConfigSql(settings, true) };
const forScan = { name: 'session_scan', text: setConfigSql(scanSettings, true) };
const forTransaction = {
  name: 'session_transaction',
  text: setConfigSql([...settings, 'idle_in_transaction_session_timeout'], true),
};
const forConnection = { name: 'session_connection', text: setConfigSql(scanSettings, false) };

/**
 * Returns a statement that applies a session: until the end of the current transaction, which is that of a statement or one
 * of several statements, or until another session is applied to the connection.
 */
export function sessionStatement(
  { role, orgId, isScan = false }: Session,
  scope: 'statement' | 'transaction' | 'connection',
): { name: string; text: string; values: string[] } {
  // The owner runs migrations, whose duration is unknown.
  const timeoutMs = role === 'none' ? 0 : isScan ? scanTimeoutMs : statementTimeoutMs;
  const values = [role, orgId, `${timeoutMs}`];
  if (scope === 'transaction')
    return { ...forTransaction, values: [...values, `${idleInTransactionTimeoutMs}`] };
  // Otherwise PostgreSQL may read and sort the whole range, although the order of the index lets it stop early.
  const planner = isScan ? ['off', 'off'] : ['on', 'on'];
  if (scope === 'connection') return { ...forConnection, values: [...values, ...planner] };
  return isScan ? { ...forScan, values: [...values, ...planner] } : { ...forStatement, values };
}
