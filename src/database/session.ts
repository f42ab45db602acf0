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
}

/** The user that connects, who owns the tables. */
export const asOwner: Session = { role: 'none', orgId: '' };

/** Looking after all organisations. */
export const asSystem: Session = { role: roles.system, orgId: '' };

/** Serving an organisation. */
export function asTenant(orgId: string): Session {
  return { role: roles.tenant, orgId };
}

/** What a statement sees that nobody has said anything about. */
const asNobody: Session = asTenant('');

const sessions = new AsyncLocalStorage<Session>();

/** The session in which a statement is to run now. */
export function currentSession(): Session {
  return sessions.getStore() ?? asNobody;
}

/** Runs work whose statements run in this session. */
export function inSession<T>(session: Session, work: () => T): T {
  return sessions.run(session, work);
}

/**
 * A unit of work, with every statement of it in this session. It is made when it is used: many are at hand only for what
 * may have to be looked up.
 */
export function bound(make: () => EntityManager, session: Session): EntityManager {
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

/** Puts a connection into a session; takes its `settingsOf`. */
export const settleSql = `select set_config('role', $1, false), set_config('${organisationSetting}', $2, false),
  set_config('statement_timeout', $3, false)`;

/** The values of `settleSql`. Two sessions with the same are the same. */
export function settingsOf({ role, orgId }: Session): string[] {
  // The owner migrates, and what that takes nobody knows beforehand.
  return [role, orgId, role === 'none' ? '0' : `${statementTimeoutMs}`];
}
