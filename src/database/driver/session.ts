import { AsyncLocalStorage } from 'node:async_hooks';
import type { EntityManager } from '@mikro-orm/postgresql';

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
  /** The tenant of the fair queue for connections; by default the organisation or, without one, the role. */
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
  return tenant ?? (orgId || role);
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

/** `statement_timeout` of a statement, lock waits included, in milliseconds. */
export const statementTimeoutMs = 10_000;

/** `statement_timeout` of a scan, in milliseconds. */
const scanTimeoutMs = 2_000;

/** Applies a session to a connection; `sessionSettings` returns the parameters. */
export const applySettingsSql = `select set_config('role', $1, false), set_config('${organisationSetting}', $2, false),
  set_config('statement_timeout', $3, false), set_config('enable_sort', $4, false),
  set_config('enable_bitmapscan', $4, false)`;

/** Returns the parameters of `applySettingsSql`. Sessions with equal parameters are interchangeable. */
export function sessionSettings({ role, orgId, isScan }: Session): string[] {
  // The owner runs migrations, whose duration is unknown.
  const timeoutMs = role === 'none' ? 0 : isScan ? scanTimeoutMs : statementTimeoutMs;
  // Otherwise PostgreSQL may read and sort the whole range, although the order of the index lets it stop early.
  return [role, orgId, `${timeoutMs}`, isScan ? 'off' : 'on'];
}
