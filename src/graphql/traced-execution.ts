import { type ExecutionArgs, getOperationAST, Kind } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { currentSpan, type SpanDescription, traced } from '../common/tracing.ts';
import type { Context } from './context.ts';

type Operation = Pick<ExecutionArgs, 'document' | 'operationName'>;

/** Executes an operation, which is valid, as a span. It has neither the document nor variables. */
export function traceExecution<Result>(
  operation: Operation,
  execute: () => Result | Promise<Result>,
): Result | Promise<Result> {
  if (!currentSpan.getStore()) return execute();
  return traced(
    () => describeOperation(operation),
    async () => execute(),
  );
}

function describeOperation({ document, operationName }: Operation): SpanDescription {
  const operation = getOperationAST(document, operationName);
  const type = operation?.operation ?? 'query';
  // Its name is one of the schema. The name of the operation, which a client chooses, is an attribute and not in the name.
  const [first] = operation?.selectionSet.selections ?? [];
  const field = first?.kind === Kind.FIELD ? first.name.value : undefined;
  const name = operation?.name?.value.slice(0, 64);
  return {
    name: field ? `${type} ${field}` : type,
    kind: 'internal',
    attributes: {
      'graphql.operation.type': type,
      ...(name && { 'graphql.operation.name': name }),
    },
  };
}

/** Makes Yoga execute operations as spans. Has to come after the plugins that may reject an operation. */
export function useTracedExecution(): Plugin<Context> {
  return {
    onExecute({ args, executeFn, setExecuteFn }) {
      if (currentSpan.getStore()) setExecuteFn((given) => traceExecution(args, () => executeFn(given)));
    },
  };
}
