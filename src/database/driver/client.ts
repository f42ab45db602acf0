import { currentRequest } from '../../common/log.ts';
import type { TenantUsage } from '../../common/tenant-usage.ts';
import { nameFailure } from '../../common/tracing.ts';
import {
  createStatementPreparer,
  forgetPreparedStatements,
  outdatedStatementCode,
} from './prepared-statements.ts';
import { suspicionMs } from './primary-client.ts';
import { currentSession, isUntimed, statementTimeoutMs } from './session.ts';
import { isBegin, SessionQuery } from './session-query.ts';
import { startStatementSpan } from './statement-span.ts';
import type { Client, NewClient, QueryCallback, Result, Statement } from './types.ts';

/** Longer than `statement_timeout`, so that a server that responds reports the time-out itself. */
const silenceTimeoutMs = () => statementTimeoutMs + 2_000;

/**
 * Sends each statement with the session in which it runs, prepares frequent statements, and destroys a connection whose
 * server is silent for too long: the server may be frozen or the network lost. The statement fails, and the pool opens a new
 * connection.
 *
 * Works around two limitations of pg (docs/adr/0010-driver-extensions.md):
 * - After its own `query_timeout`, the pool hands out the silent connection again. Remove the watchdog when it does not.
 * - With promises of pg, rows outlive their requests until a full garbage collection (bench/README.md has the cost). Use
 *   them when they no longer do.
 *
 * @param usage counts the time in which rows of an organisation are parsed
 * @param prepares whether statements may be prepared
 */
export function instrumentClient(client: NewClient, usage: TenantUsage, prepares: boolean): void {
  const send = client.query.bind(client);
  const prepare = createStatementPreparer(client);
  /** The time of the last response, or of the first pending statement; undefined while none is pending. */
  let silentSince: number | undefined;
  let pending = 0;
  const toStatement = (input: string | Statement, values: readonly unknown[] = []): Statement => {
    if (typeof input === 'string')
      return prepares && values.length > 0 ? prepare(input, values) : { text: input, values };
    // Libraries name their statements too.
    return prepares ? input : { text: input.text, values: input.values ?? [] };
  };
  /** The organisation of the last statement. */
  let orgId = '';
  countParsing(client.connection.stream, (ms) => {
    if (orgId) usage.addLoopTime(orgId, ms);
  });
  const query: Client['query'] = (input, values) => {
    const session = currentSession();
    orgId = session.orgId;
    const statement = toStatement(input, values);
    const submit = (given: Statement, done: QueryCallback) =>
      send(new SessionQuery(client, session, given, prepares, done));
    const isTimed = !isUntimed();
    if (isTimed) {
      silentSince ??= performance.now();
      pending += 1;
    }
    const stopwatch = currentRequest.getStore()?.database;
    stopwatch?.start();
    const span = startStatementSpan(statement.text);
    return new Promise<Result>((resolve, reject) => {
      const finish: QueryCallback = (error, result) => {
        stopwatch?.stop();
        span?.end(error ? nameFailure(error) : undefined);
        if (isTimed) {
          pending -= 1;
          silentSince = pending > 0 ? performance.now() : undefined;
        }
        if (error) reject(error);
        else resolve(result);
      };
      submit(statement, (error, result) => {
        const isOutdated = error && 'code' in error && error.code === outdatedStatementCode;
        if (isOutdated) forgetPreparedStatements();
        // An error ends a transaction.
        if (isOutdated && client.getTransactionStatus() === 'I') submit(toStatement(input, values), finish);
        else finish(error, result);
      });
    }).catch((error: Error) => {
      // The stack trace shows the caller of `query` instead of the socket.
      Error.captureStackTrace(error);
      // Kysely does not release a connection on which `begin` fails. `releaseDeadClients` does when it ends.
      if (isBegin(statement)) client.connection.stream.destroy(error);
      throw error;
    });
  };
  Object.assign(client, { query });
  // One timer for each connection, because a timer for each statement costs more.
  const watchdog = setInterval(() => {
    const silentMs = silentSince === undefined ? 0 : performance.now() - silentSince;
    if (silentMs > silenceTimeoutMs())
      client.connection.stream.destroy(new SilentConnectionError('no response in time'));
    else if (silentMs > suspicionMs) client.suspect();
  }, 1_000).unref();
  client.once('end', () => clearInterval(watchdog));
}

/** Calls a function with the time that pg took to parse each piece of a response, in milliseconds. */
function countParsing(stream: NewClient['connection']['stream'], count: (ms: number) => void): void {
  let startedAt = 0;
  stream.prependListener('data', () => {
    startedAt = performance.now();
  });
  stream.on('data', () => count(performance.now() - startedAt));
}

/** The server was silent for too long. The code is that of a time-out of the operating system. */
class SilentConnectionError extends Error {
  readonly code = 'ETIMEDOUT';
}
