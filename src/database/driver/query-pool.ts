import { createSerialQueue } from '../../common/serial-queue.ts';
import { inSession, type Session } from './session.ts';
import type { Client, Pool, Result, Statement } from './types.ts';

/** Runs a statement, without MikroORM, in a session on a client of the pool. */
export function queryPool(
  pool: Pool,
  session: Session,
  statement: string | Statement,
  values?: readonly unknown[],
): Promise<Result> {
  return inSession(session, async () => {
    const client = await pool.connect();
    try {
      const result = await client.query(statement, values);
      client.release();
      return result;
    } catch (error) {
      client.release(true);
      throw error;
    }
  });
}

/** A connection of its own for statements of one session, which run one after the other. */
export interface DedicatedConnection {
  query(statement: Statement): Promise<Result>;
  /** Closes the connection. `query` must not be called afterwards. */
  release(): Promise<void>;
}

/** Opens a dedicated connection on first use, and again whenever it is lost. */
export function openDedicatedConnection(pool: () => Promise<Pool>, session: Session): DedicatedConnection {
  let opened: Promise<Client> | undefined;
  const enqueue = createSerialQueue();
  const open = async (): Promise<Client> => {
    const client = await (await pool()).connect();
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
    query: (statement) => enqueue(() => inSession(session, () => send(statement))),
    async release() {
      const client = await opened?.catch(() => undefined);
      client?.release(true);
    },
  };
}
