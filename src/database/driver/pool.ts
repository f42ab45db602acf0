import { AsyncLocalStorage } from 'node:async_hooks';
import { withFairQueue } from './fair-pool.ts';
import { pipelineBegin } from './pipelined-begin.ts';
import { createStatementPreparer } from './prepared-statements.ts';
import {
  applySettingsSql,
  currentSession,
  inSession,
  type Session,
  sessionSettings,
  statementTimeoutMs,
} from './session.ts';
import type { Client, NewClient, Pool, Result, Statement } from './types.ts';

/** Longer than `statement_timeout`, so that a server that responds reports the time-out itself. */
const silenceTimeoutMs = statementTimeoutMs + 2_000;

const untimedTasks = new AsyncLocalStorage<true>();

/** Runs a task whose statements have no time limit, such as migrations. */
export function withoutStatementTimeout<T>(task: () => T): T {
  return untimedTasks.run(true, task);
}

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
 * Extends a pool with sessions, fair shares, prepared statements, pipelined `begin` and a limit on silence. `connect`
 * applies the current session to the client, with one statement, if the client has another one.
 *
 * Works around MikroORM's `sessionContext`, which costs three statements or a transaction for each statement
 * (docs/adr/0002-row-level-security.md). Remove the session settings when it does not.
 */
export function instrumentPool(pool: Pool): void {
  pool.on('connect', instrumentClient);
  releaseDeadClients(pool);
  const connect = withFairQueue(pool);
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

/**
 * Prepares frequent statements, and destroys a connection whose server is silent for too long: the server may be frozen or
 * the network lost. The statement fails, and the pool opens a new connection.
 *
 * Works around two limitations of pg (docs/adr/0010-driver-extensions.md):
 * - After its own `query_timeout`, the pool hands out the silent connection again. Remove the watchdog when it does not.
 * - With promises of pg, rows outlive their requests until a full garbage collection (bench/README.md has the cost). Use
 *   them when they no longer do.
 */
function instrumentClient(client: NewClient): void {
  const send = pipelineBegin(client.connection, client.query.bind(client));
  const prepare = createStatementPreparer(client);
  /** The time of the last response, or of the first pending statement; undefined while none is pending. */
  let silentSince: number | undefined;
  let pending = 0;
  const query: Client['query'] = (input, values) => {
    const statement = typeof input === 'string' && values?.length ? prepare(input, values) : input;
    const isTimed = !untimedTasks.getStore();
    if (isTimed) {
      silentSince ??= performance.now();
      pending += 1;
    }
    return new Promise<Result>((resolve, reject) => {
      send(statement, (error, result) => {
        if (isTimed) {
          pending -= 1;
          silentSince = pending > 0 ? performance.now() : undefined;
        }
        if (error) reject(error);
        else resolve(result);
      });
    }).catch((error: Error) => {
      // The stack trace shows the caller of `query` instead of the socket.
      Error.captureStackTrace(error);
      throw error;
    });
  };
  Object.assign(client, { query });
  // One timer for each connection, because a timer for each statement costs more.
  const watchdog = setInterval(() => {
    if (silentSince === undefined || performance.now() - silentSince < silenceTimeoutMs) return;
    client.connection.stream.destroy(new SilentConnectionError('no response in time'));
  }, 1_000).unref();
  client.once('end', () => clearInterval(watchdog));
}

/**
 * Releases clients whose connection ends while they are in use.
 *
 * Works around https://github.com/kysely-org/kysely/issues/1990: Kysely does not release a client on which neither commit
 * nor rollback succeeds, so the pool loses a slot each time. Remove it when that issue is fixed.
 */
function releaseDeadClients(pool: Pool): void {
  const inUse = new WeakSet<object>();
  pool.on('acquire', (client) => inUse.add(client));
  pool.on('release', (_, client) => inUse.delete(client));
  pool.on('connect', (client) =>
    client.once('end', () => {
      if (!inUse.has(client)) return;
      client.release(true);
      // A second release throws.
      client.release = () => undefined;
    }),
  );
}

/** The server was silent for too long. The code is that of a time-out of the operating system. */
class SilentConnectionError extends Error {
  readonly code = 'ETIMEDOUT';
}
