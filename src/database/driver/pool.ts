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

/** Longer than PostgreSQL works on a statement, which says so itself as long as it can be heard. */
const patienceMs = statementTimeoutMs + 2_000;

const unhurriedWork = new AsyncLocalStorage<true>();

/** Runs work whose statements may take any time: what migrating takes, nobody knows beforehand. */
export function withoutStatementTimeout<T>(work: () => T): T {
  return unhurriedWork.run(true, work);
}

/** Runs a statement of somebody else's making on a connection of the pool. */
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

/** A connection that is kept for statements of one session, which run one after the other. */
export interface DedicatedConnection {
  query(statement: Statement): Promise<unknown>;
  /** Gives it back; ask nothing after that. */
  release(): Promise<void>;
}

/** Keeps a connection as soon as it is needed, and another one whenever it is lost. */
export function openDedicatedConnection(pool: () => Promise<Pool>, session: Session): DedicatedConnection {
  let kept: Promise<Client> | undefined;
  let last: Promise<unknown> = Promise.resolve();
  const take = async (): Promise<Client> => {
    const client = await inSession(session, async () => (await pool()).connect());
    client.once('end', () => {
      kept = undefined;
    });
    return client;
  };
  const ask = async (statement: Statement) => {
    kept ??= take().catch((error: unknown) => {
      kept = undefined;
      throw error;
    });
    return (await kept).query(statement);
  };
  return {
    query(statement) {
      const result = last.then(() => ask(statement));
      last = result.catch(() => undefined);
      return result;
    },
    async release() {
      const client = await kept?.catch(() => undefined);
      client?.release(true);
    },
  };
}

/**
 * Lends no connection that is in another session than its borrower's, and gives up those over which nothing is heard.
 * The former costs one statement, and none when the connection was in this session already; MikroORM's own ways cost
 * three for every statement, or a transaction.
 */
export function instrumentPool(pool: Pool): void {
  pool.on('connect', instrumentClient);
  releaseDeadClients(pool);
  const connect = withFairQueue(pool);
  const settled = new WeakMap<Client, string>();
  pool.connect = async () => {
    const settings = sessionSettings(currentSession());
    const session = settings.join();
    const client = await connect();
    if (settled.get(client) === session) return client;
    try {
      settled.delete(client);
      await client.query(applySettingsSql, settings);
      settled.set(client, session);
      return client;
    } catch (error) {
      client.release(true);
      throw error;
    }
  };
}

/**
 * Prepares what comes often, and cuts a connection whose server says nothing for too long: it may be frozen, or the
 * network between gone without a word. The statement fails, and the pool makes a new connection; the driver's own
 * time-out would lend this one again.
 *
 * The driver tells what comes of a statement by its callback. With its own promises, rows were seen to outlive their
 * requests until a full collection of garbage (bench/README.md has what that cost).
 */
function instrumentClient(client: NewClient): void {
  const ask = pipelineBegin(client.connection, client.query.bind(client));
  const prepare = createStatementPreparer(client);
  /** Since when nothing was heard of the statements that are out; undefined while there are none. */
  let since: number | undefined;
  let out = 0;
  const query: Client['query'] = (given, values) => {
    const statement = typeof given === 'string' && values?.length ? prepare(given, values) : given;
    const isHurried = !unhurriedWork.getStore();
    if (isHurried) {
      since ??= performance.now();
      out += 1;
    }
    return new Promise<Result>((resolve, reject) => {
      ask(statement, (error, result) => {
        if (isHurried) {
          out -= 1;
          since = out > 0 ? performance.now() : undefined;
        }
        if (error) reject(error);
        else resolve(result);
      });
    }).catch((error: Error) => {
      // From here on, its trace leads to whoever has asked, and not to the socket.
      Error.captureStackTrace(error);
      throw error;
    });
  };
  Object.assign(client, { query });
  // One timer a connection, because one a statement costs every one of them.
  const watch = setInterval(() => {
    if (since === undefined || performance.now() - since < patienceMs) return;
    client.connection.stream.destroy(new SilentConnectionError('nothing was heard for too long'));
  }, 1_000).unref();
  client.once('end', () => clearInterval(watch));
}

/**
 * Takes back a connection that has ended while it was lent. Whoever could neither commit nor roll back over it does not
 * give it back, and each one that is missing leaves one connection less, until there is none.
 */
function releaseDeadClients(pool: Pool): void {
  const lent = new WeakSet<object>();
  pool.on('acquire', (client) => lent.add(client));
  pool.on('release', (_, client) => lent.delete(client));
  pool.on('connect', (client) =>
    client.once('end', () => {
      if (!lent.has(client)) return;
      client.release(true);
      // It is in nobody's hands any more, whoever still thinks so.
      client.release = () => undefined;
    }),
  );
}

/** As the operating system would have it, had it waited. */
class SilentConnectionError extends Error {
  readonly code = 'ETIMEDOUT';
}
