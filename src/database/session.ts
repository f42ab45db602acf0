import { AsyncLocalStorage } from 'node:async_hooks';
import type { PGlite } from '@electric-sql/pglite';
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
interface Session {
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

/** Runs work whose statements run in this session. */
export function inSession<T>(session: Session, work: () => T): T {
  return sessions.run(session, work);
}

/** The same unit of work, with every statement of it in this session. */
export function bound(em: EntityManager, session: Session): EntityManager {
  return new Proxy(em, {
    get(target, name) {
      const member = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...given: unknown[]) => inSession(session, () => member.apply(target, given));
    },
  });
}

/** How long PostgreSQL works on a statement, or waits for a lock on its behalf, before it gives up. */
export const statementTimeoutMs = 10_000;

const settleSql = `select set_config('role', $1, false), set_config('${organisationSetting}', $2, false),
  set_config('statement_timeout', $3, false)`;

function settings({ role, orgId }: Session): string[] {
  // The owner migrates, and what that takes nobody knows beforehand.
  return [role, orgId, role === 'none' ? '0' : `${statementTimeoutMs}`];
}

/** What of the driver's pool is used here. */
interface Pool {
  connect(): Promise<Client>;
}

interface Client {
  query(sql: string, values: string[]): Promise<unknown>;
  query(statement: Statement): Promise<unknown>;
  release(isBroken?: boolean): void;
}

/** A statement as the driver takes it, with `$1` for its first value; prepared, if it has a name. */
export interface Statement {
  name?: string;
  text: string;
  values?: readonly unknown[];
}

/** Runs a statement of somebody else's making on a connection of the pool. */
export async function queryPool(pool: Pool, session: Session, statement: Statement): Promise<unknown> {
  const client = await inSession(session, () => pool.connect());
  try {
    const result = await client.query(statement);
    client.release();
    return result;
  } catch (error) {
    client.release(true);
    throw error;
  }
}

/**
 * Lends no connection that is in another session than its borrower's. It costs one statement, and none when the
 * connection was in this session already; MikroORM's own ways cost three for every statement, or a transaction.
 */
export function settlePool(pool: Pool): void {
  const connect = pool.connect.bind(pool);
  const settled = new WeakMap<Client, string>();
  pool.connect = async () => {
    const session = sessions.getStore() ?? asNobody;
    const client = await connect();
    if (settled.get(client) === keyOf(session)) return client;
    try {
      settled.delete(client);
      await client.query(settleSql, settings(session));
      settled.set(client, keyOf(session));
      return client;
    } catch (error) {
      client.release(true);
      throw error;
    }
  };
}

/** The same for the embedded database, whose one connection is lent for one statement or transaction at a time. */
export function settleEmbedded(database: PGlite): void {
  const query = database.query.bind(database);
  const transaction = database.transaction.bind(database);
  let settled: string | undefined;
  const settle = async () => {
    const session = sessions.getStore() ?? asNobody;
    if (settled === keyOf(session)) return;
    settled = undefined;
    await query(settleSql, settings(session));
    settled = keyOf(session);
  };
  database.query = async (...given) => {
    await settle();
    return query(...given);
  };
  database.transaction = async (work) => {
    await settle();
    return transaction(work);
  };
}

function keyOf({ role, orgId }: Session): string {
  return `${role} ${orgId}`;
}
