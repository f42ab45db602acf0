import { AsyncLocalStorage } from 'node:async_hooks';
import { createStatementPreparer } from './prepared-statements.ts';
import { statementTimeoutMs } from './session.ts';
import type { Client, NewClient, Result } from './types.ts';

/** Longer than `statement_timeout`, so that a server that responds reports the time-out itself. */
const silenceTimeoutMs = statementTimeoutMs + 2_000;

const untimedTasks = new AsyncLocalStorage<true>();

/** Runs a task whose statements have no time limit, such as migrations. */
export function withoutStatementTimeout<T>(task: () => T): T {
  return untimedTasks.run(true, task);
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
export function instrumentClient(client: NewClient): void {
  const send = client.query.bind(client);
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

/** The server was silent for too long. The code is that of a time-out of the operating system. */
class SilentConnectionError extends Error {
  readonly code = 'ETIMEDOUT';
}
