import { AsyncLocalStorage } from 'node:async_hooks';
import type { EntityManager } from '@mikro-orm/postgresql';

/**
 * The roles under which statements run. Neither is a superuser or owns anything, so that row-level security binds
 * both; what each may do with a table is granted by the migrations, which alone run under the user that connects.
 */
export const roles = {
  /** Serves requests, and sees the rows of one organisation. */
  tenant: 'app_connections_tenant',
  /** Looks after all organisations: signing in, starting, clearing up. */
  system: 'app_connections_system',
} as const;

/** The setting in which PostgreSQL is told whose rows are to be seen. */
export const organisationSetting = 'app_connections.org_id';

/** Under which role statements run, and whose rows they see. */
export interface Session {
  /** `none` is the user that connects. */
  role: (typeof roles)[keyof typeof roles] | 'none';
  /** Empty: nobody's. */
  orgId: string;
  /** For statements that read a range of an index in its order, and are to take little time. */
  isScan?: boolean;
  /** For whom connections are shared out, where it is neither the organisation nor, without one, the role. */
  tenant?: string;
}

/** The user that connects, who owns the tables. */
export const ownerSession: Session = { role: 'none', orgId: '' };

/** Looking after all organisations. */
export const systemSession: Session = { role: roles.system, orgId: '' };

/** Looking up who a stranger is: however many there are, they have one share, and it is not that of `asSystem`. */
export const unauthenticatedSession: Session = { ...systemSession, tenant: 'strangers' };

/** Serving an organisation. */
export function tenantSession(orgId: string): Session {
  return { role: roles.tenant, orgId };
}

/** Serving an organisation with a statement that reads a range of an index in its order. */
export function scanSession(orgId: string): Session {
  return { ...tenantSession(orgId), isScan: true };
}

/** What a statement sees that nobody has said anything about. */
const asNobody: Session = tenantSession('');

/** Connections that a piece of work, all of its inner pieces included, holds at the moment. */
export interface ConnectionHolder {
  connections: number;
}

const sessions = new AsyncLocalStorage<{ session: Session; holder: ConnectionHolder }>();

/** The session in which a statement is to run now. */
export function currentSession(): Session {
  return sessions.getStore()?.session ?? asNobody;
}

/** For whom a connection is asked for now, among those who share the connections. */
export function currentTenant(): string {
  const { tenant, orgId, role } = currentSession();
  return tenant ?? (orgId || role);
}

/** The piece of work that asks for a connection now. */
export function currentHolder(): ConnectionHolder {
  return sessions.getStore()?.holder ?? { connections: 0 };
}

/** Runs work whose statements run in this session. */
export function inSession<T>(session: Session, work: () => T): T {
  return sessions.run({ session, holder: currentHolder() }, work);
}

/**
 * A unit of work, with every statement of it in this session. It is made when it is used: many are at hand only for what
 * may have to be looked up.
 */
export function lazyScopedEntityManager(make: () => EntityManager, session: Session): EntityManager {
  let made: EntityManager | undefined;
  return new Proxy({} as EntityManager, {
    get(_, name) {
      made ??= make();
      const em = made;
      const member = Reflect.get(em, name, em);
      if (typeof member !== 'function') return member;
      return (...given: unknown[]) => inSession(session, () => member.apply(em, given));
    },
  });
}

/** How long PostgreSQL works on a statement, or waits for a lock on its behalf, before it gives up. */
export const statementTimeoutMs = 10_000;

/** How long PostgreSQL works on a scan. */
const scanTimeoutMs = 2_000;

/** Puts a connection into a session; takes its `sessionSettings`. */
export const applySettingsSql = `select set_config('role', $1, false), set_config('${organisationSetting}', $2, false),
  set_config('statement_timeout', $3, false), set_config('enable_sort', $4, false),
  set_config('enable_bitmapscan', $4, false)`;

/** The values of `applySettingsSql`. Two sessions with the same are the same. */
export function sessionSettings({ role, orgId, isScan }: Session): string[] {
  // The owner migrates, and what that takes nobody knows beforehand.
  const timeoutMs = role === 'none' ? 0 : isScan ? scanTimeoutMs : statementTimeoutMs;
  // Else PostgreSQL may gather a whole range and sort it, where the order of the index lets it stop early.
  return [role, orgId, `${timeoutMs}`, isScan ? 'off' : 'on'];
}
