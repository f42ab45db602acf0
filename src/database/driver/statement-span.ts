import { currentSpan, nameFailure, type Span } from '../../common/tracing.ts';

const kinds: ReadonlySet<string> = new Set([
  ...['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'WITH', 'TRUNCATE', 'SET', 'LISTEN', 'NOTIFY'],
  ...['BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT', 'RELEASE'],
]);

/** Starts the span of a statement in the current span. It has the kind of the statement, and neither its text nor its values. */
export function startStatementSpan(text: string): Span | undefined {
  const parent = currentSpan.getStore();
  if (!parent) return undefined;
  const [, first = ''] = /^\s*([a-z]+)/i.exec(text) ?? [];
  const kind = kinds.has(first.toUpperCase()) ? first.toUpperCase() : 'OTHER';
  return startDatabaseSpan(parent, kind);
}

/** Starts the span of a transaction of the embedded database. */
export function startTransactionSpan(): Span | undefined {
  const parent = currentSpan.getStore();
  return parent && startDatabaseSpan(parent, 'TRANSACTION');
}

function startDatabaseSpan(parent: Span, kind: string): Span | undefined {
  return parent.startChild({
    name: kind,
    kind: 'client',
    attributes: { 'db.system.name': 'postgresql', 'db.operation.name': kind },
  });
}

/** Ends a span when its task ends. Returns the result of the task. */
export function endSpanAfter<Result>(span: Span | undefined, result: Promise<Result>): Promise<Result> {
  if (!span) return result;
  return result.then(
    (value) => {
      span.end();
      return value;
    },
    (error: unknown) => {
      span.end(nameFailure(error));
      throw error;
    },
  );
}
