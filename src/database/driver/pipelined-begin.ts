import type { SendQuery, Statement, WireConnection } from './types.ts';

/** What comes of a statement that is not sent. */
const nothing = { rows: [] };

/**
 * Sends `begin` along with the first statement of its transaction, and not at all if there is none: a transaction takes a
 * round trip less. Both are what PostgreSQL does or skips together: if `begin` fails, the statement is not carried out.
 */
export function pipelineBegin(connection: WireConnection, ask: SendQuery): SendQuery {
  const begin = { name: 'begin', text: 'begin' };
  let isPrepared = false;
  let isHeld = false;
  return (statement, done) => {
    if (statement === begin.text) {
      isHeld = true;
      done(null, nothing);
      return;
    }
    if (!isHeld) {
      ask(statement, done);
      return;
    }
    isHeld = false;
    if (statement === 'commit' || statement === 'rollback') done(null, nothing);
    else if (isPrepared && usesExtendedProtocol(statement)) askAfterBegin(statement, done);
    else askBegin(statement, done);
  };

  /** By itself: it is to be prepared, or the statement is of the simple protocol, in which it may be several. */
  function askBegin(...[statement, done]: Parameters<SendQuery>): void {
    ask(begin, (error, result) => {
      if (error) {
        done(error, result);
        return;
      }
      isPrepared = true;
      ask(statement, done);
    });
  }

  function askAfterBegin(statement: Statement, done: Parameters<SendQuery>[1]): void {
    connection.stream.cork();
    connection.bind({ statement: begin.name });
    connection.execute({});
    // The driver gives what comes of each of the two.
    ask(statement, (error, results) => done(error, Array.isArray(results) ? results.at(-1) : results));
    connection.stream.uncork();
  }
}

/** Whether the driver sends it in messages of their own for its text and its values. */
function usesExtendedProtocol(statement: string | Statement): statement is Statement {
  return typeof statement !== 'string' && (statement.name !== undefined || !!statement.values?.length);
}
