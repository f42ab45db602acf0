import type { SendQuery, Statement, WireConnection } from './types.ts';

/** The result of a statement that is not sent. */
const emptyResult = { rows: [] };

/**
 * Sends `begin` together with the first statement of its transaction (Bind and Execute without Sync), which saves a round
 * trip. A transaction without statements sends nothing. If `begin` fails, PostgreSQL skips the statement.
 *
 * Works around pg, which sends one statement at a time. Remove it when pg's own `pipeline: true` (since 8.23,
 * https://node-postgres.com/apis/client) does the same with the same safety, or when it wins less than 5 % of creates
 * (docs/adr/0010-driver-extensions.md).
 */
export function pipelineBegin(connection: WireConnection, send: SendQuery): SendQuery {
  const begin = { name: 'begin', text: 'begin' };
  let isPrepared = false;
  let isBeginPending = false;
  return (statement, done) => {
    if (statement === begin.text) {
      isBeginPending = true;
      done(null, emptyResult);
      return;
    }
    if (!isBeginPending) {
      send(statement, done);
      return;
    }
    isBeginPending = false;
    if (statement === 'commit' || statement === 'rollback') done(null, emptyResult);
    else if (isPrepared && usesExtendedProtocol(statement)) sendWithBegin(statement, done);
    else sendBeginFirst(statement, done);
  };

  /** Sends `begin` alone, to prepare it, or because the statement uses the simple protocol and may be several statements. */
  function sendBeginFirst(...[statement, done]: Parameters<SendQuery>): void {
    send(begin, (error, result) => {
      if (error) {
        done(error, result);
        return;
      }
      isPrepared = true;
      send(statement, done);
    });
  }

  function sendWithBegin(statement: Statement, done: Parameters<SendQuery>[1]): void {
    connection.stream.cork();
    connection.bind({ statement: begin.name });
    connection.execute({});
    // The driver returns the results of both.
    send(statement, (error, results) => done(error, Array.isArray(results) ? results.at(-1) : results));
    connection.stream.uncork();
  }
}

/** Whether the driver sends the statement with the extended query protocol. */
function usesExtendedProtocol(statement: string | Statement): statement is Statement {
  return typeof statement !== 'string' && (statement.name !== undefined || !!statement.values?.length);
}
