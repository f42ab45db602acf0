import {
  type ExecutionArgs,
  type ExecutionResult,
  type GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  Kind,
  type OperationDefinitionNode,
} from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { Authentication } from '../auth/authentication.ts';
import { unauthenticated } from '../auth/authentication-error.ts';
import { AppError } from '../common/errors.ts';
import type { FairScheduler } from '../common/fair-scheduler.ts';
import { currentRequest } from '../common/log.ts';
import type { Context } from './context.ts';
import { type CostInput, calculateAppRequests, calculateCost, maxAppRequests, maxCost } from './cost.ts';
import { documentRejected, hasLongList } from './document-limits.ts';
import type { ErrorMasker } from './error-masking.ts';
import type { NodeServerContext } from './strict-requests.ts';
import { createVariableValidator } from './variable-validation.ts';

/** The checks of a GraphQL request, on the fast path and in Yoga. */
export interface RequestGuard {
  /** Authenticates the caller and adds it to the context. Returns the error of the response if that fails. */
  authenticate(authorization: string | null, context: Partial<Context>): Promise<GraphQLError | undefined>;
  /** Waits for a turn of the organisation on the event loop, before parsing and execution. */
  waitForTurn(context: Partial<Context>): Promise<void>;
  /** Waits for another turn of the organisation, with a result that is complete. */
  waitToContinue(context: Partial<Context>): Promise<void>;
  /** Returns the error with which the operation is rejected; undefined if it can be executed. */
  check(args: OperationArgs, context: Partial<Context>): GraphQLError | undefined;
  /** Returns the result of an execution, or an error that lists the issues of its variables if they are invalid. */
  reportInvalidVariables<Result extends object>(
    args: OperationArgs,
    result: Result,
  ): Result | ExecutionResult;
}

type OperationArgs = Pick<ExecutionArgs, 'document' | 'operationName' | 'variableValues'>;

/** The dependencies of the request guard. */
export interface RequestGuardOptions {
  authentication: Authentication;
  /** Whether the schema may be read without a key. */
  openIntrospection: boolean;
  maskError: ErrorMasker;
  connections: { scheduler: FairScheduler };
}

/**
 * Rejects requests without a valid credential. `openIntrospection` allows introspection, and nothing else, without one.
 *
 * `execute` coerces the variables, before it calls any resolver. Its messages repeat whole values, including tokens, so
 * `reportInvalidVariables` replaces them by one error that names all issues, each with its path.
 */
export function createRequestGuard(
  schema: GraphQLSchema,
  { authentication, openIntrospection, maskError, connections: { scheduler } }: RequestGuardOptions,
): RequestGuard {
  const validateVariables = createVariableValidator(schema, maskError);
  /** Operations whose cost is within the limit for all values of their variables. */
  const affordable = new WeakSet<OperationDefinitionNode>();
  const assertAffordable = (input: Required<CostInput>): void => {
    const { document, operation } = input;
    if (affordable.has(operation)) return;
    const atMost = { document, operation };
    if (calculateCost(schema, atMost) <= maxCost && calculateAppRequests(schema, atMost) <= maxAppRequests) {
      affordable.add(operation);
      return;
    }
    const appRequests = calculateAppRequests(schema, input);
    if (appRequests > maxAppRequests)
      throw documentRejected(
        `This operation can cause ${appRequests} requests to apps, and ${maxAppRequests} are allowed. Ask for shorter pages with "first", or send several operations.`,
      );
    const cost = calculateCost(schema, input);
    if (cost > maxCost)
      throw documentRejected(`Cost limit of ${maxCost} exceeded; this operation costs ${cost}.`);
  };
  return {
    async authenticate(authorization, context) {
      try {
        const caller = await authentication.authenticate(authorization);
        context.caller = caller;
        context.assertStillAuthenticated = () => authentication.assertStillAuthenticated(authorization);
        const record = currentRequest.getStore();
        if (record) Object.assign(record, caller.actor);
        return undefined;
      } catch (error) {
        const isPublic = authorization === null && openIntrospection;
        if (isPublic && error instanceof AppError && error.code === 'UNAUTHENTICATED') return undefined;
        return maskError(error);
      }
    },
    waitForTurn: ({ caller }) => scheduler.waitForTurn(caller?.orgId ?? ''),
    waitToContinue: ({ caller }) => scheduler.waitToContinue(caller?.orgId ?? ''),
    check({ document, operationName, variableValues }, { caller }) {
      const operation = getOperationAST(document, operationName);
      if (!caller && !isIntrospection(operation)) return maskError(unauthenticated());
      if (!operation) return undefined;
      const record = currentRequest.getStore();
      if (record && operation.name) record.operation = operation.name.value.slice(0, 64);
      const [selection] = operation.selectionSet.selections;
      if (record && selection?.kind === Kind.FIELD) record.field = selection.name.value;
      const variables = variableValues ?? {};
      try {
        assertAffordable({ document, operation, variables });
      } catch (error) {
        return maskError(error);
      }
      return hasLongList(variables) ? validateVariables(operation, variables) : undefined;
    },
    reportInvalidVariables({ document, operationName, variableValues }, result) {
      if (hasStarted(result)) return result;
      const operation = getOperationAST(document, operationName);
      const error = operation && validateVariables(operation, variableValues ?? {});
      return error ? { errors: [error] } : result;
    },
  };
}

/** The request guard as a plugin of Yoga. Has to come after the plugin that sets the request parser. */
export function useRequestGuard({
  authenticate,
  waitForTurn,
  check,
  reportInvalidVariables,
}: RequestGuard): Plugin<Context, NodeServerContext> {
  /** @returns the handler of the result; undefined if the operation is rejected */
  const hook = ({ args, setResultAndStopExecution }: Payload) => {
    const error = check(args, args.contextValue);
    if (!error) {
      return ({ result, setResult }: ResultPayload) => setResult(reportInvalidVariables(args, result));
    }
    setResultAndStopExecution({ errors: [error] });
    return undefined;
  };
  return {
    // Before the body is read, so that unauthenticated clients cannot make the server parse bodies.
    onRequestParse({ request, serverContext, requestParser, setRequestParser }) {
      if (!requestParser || serverContext.isAuthenticated) return;
      setRequestParser(async (fetchRequest) => {
        const error = await authenticate(request.headers.get('authorization'), serverContext);
        // Thrown, so that no other plugin handles the request.
        if (error) throw error;
        const params = await requestParser(fetchRequest);
        await waitForTurn(serverContext);
        return params;
      });
    },
    onExecute(payload) {
      const onExecuteDone = hook(payload);
      return onExecuteDone && { onExecuteDone };
    },
    onSubscribe(payload) {
      const onSubscribeResult = hook(payload);
      return onSubscribeResult && { onSubscribeResult };
    },
  };
}

/** The common part of Yoga's payloads for `onExecute` and `onSubscribe`. */
interface Payload {
  args: ExecutionArgs & { contextValue: Context };
  setResultAndStopExecution(result: ExecutionResult): void;
}

/** The common part of Yoga's payloads for `onExecuteDone` and `onSubscribeResult`. */
interface ResultPayload {
  result: object;
  setResult(result: ExecutionResult): void;
}

/** Whether resolvers were called: graphql-js returns errors without data if it cannot start. */
export function hasStarted(result: object): boolean {
  return !('errors' in result) || 'data' in result;
}

function isIntrospection(operation: OperationDefinitionNode | null | undefined): boolean {
  return (
    operation?.operation === 'query' &&
    operation.selectionSet.selections.every(
      (selection) => selection.kind === Kind.FIELD && selection.name.value.startsWith('__'),
    )
  );
}
