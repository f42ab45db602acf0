import type { TenantUsage } from '../../common/tenant-usage.ts';
import { instrumentClient } from './client.ts';
import { releaseDeadClients } from './dead-clients.ts';
import { withFairQueue } from './fair-pool.ts';
import { applySettingsSql, currentSession, inSession, type Session, sessionSettings } from './session.ts';
import type { Client, Pool, Result, Statement } from './types.ts';

/** Runs a statement, without MikroORM, in a session on a client of the pool. */
export async function queryPool(
  pool: Pool,
  session: Session,
  statement: string | Statement,
  values?: readonly unknown[],
): Promise<Result> {
  const client = await inSession(session, () => pool.connect());
  try {
    const result = await client.query(statement, values);
    client.release();
    return result;
  } catch (error) {
    client.release(true);
    throw error;
  }
}

/** A connection of its own for statements of one session, which run one after the other. */
export interface DedicatedConnection {
  query(statement: Statement): Promise<unknown>;
  /** Closes the connection. `query` must not be called afterwards. */
  release(): Promise<void>;
}

/** Opens a dedicated connection on first use, and again whenever it is lost. */
export function openDedicatedConnection(pool: () => Promise<Pool>, session: Session): DedicatedConnection {
  let opened: Promise<Client> | undefined;
  let last: Promise<unknown> = Promise.resolve();
  const open = async (): Promise<Client> => {
    const client = await inSession(session, async () => (await pool()).connect());
    client.once('end', () => {
      opened = undefined;
    });
    return client;
  };
  const send = async (statement: Statement) => {
    opened ??= open().catch((error: unknown) => {
      opened = undefined;
      throw error;
    });
    return (await opened).query(statement);
  };
  return {
    query(statement) {
      const result = last.then(() => send(statement));
      last = result.catch(() => undefined);
      return result;
    },
    async release() {
      const client = await opened?.catch(() => undefined);
      client?.release(true);
    },
  };
}

/**
 * Extends a pool with sessions, fair shares, prepared statements and a limit on silence. `connect`
 * applies the current session to the client, with one statement, if the client has another one.
 *
 * Works around MikroORM's `sessionContext`, which costs three statements or a transaction for each statement
 * (docs/adr/0002-row-level-security.md). Remove the session settings when it does not.
 */
export function instrumentPool(pool: Pool, usage: TenantUsage): void {
  pool.on('connect', instrumentClient);
  releaseDeadClients(pool);
  const connect = withFairQueue(pool, usage);
  const appliedSessions = new WeakMap<Client, string>();
  pool.connect = async () => {
    const settings = sessionSettings(currentSession());
    const session = settings.join();
    const client = await connect();
    if (appliedSessions.get(client) === session) return client;
    try {
      appliedSessions.delete(client);
      await client.query(applySettingsSql, settings);
      appliedSessions.set(client, session);
      return client;
    } catch (error) {
      client.release(true);
      throw error;
    }
  };
}
