import {
  coerceInputValue,
  type ExecutionArgs,
  type ExecutionResult,
  type GraphQLError,
  type GraphQLInputType,
  type GraphQLSchema,
  getNullableType,
  getOperationAST,
  isInputObjectType,
  isInputType,
  isNonNullType,
  Kind,
  type OperationDefinitionNode,
  typeFromAST,
} from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { Authentication } from '../auth/authentication.ts';
import { unauthenticated } from '../auth/authentication-error.ts';
import { AppError, type Issue, validationError } from '../common/errors.ts';
import type { FairScheduler } from '../common/fair-scheduler.ts';
import { currentRequest } from '../common/log.ts';
import type { Context } from './context.ts';
import { type CostInput, calculateCost, maxCost } from './cost.ts';
import { documentRejected, hasLongList, listTooLong } from './document-limits.ts';
import { createMessageRedactor, type ErrorMasker } from './error-masking.ts';
import { collectSchemaIssues } from './input-rules.ts';
import type { NodeServerContext } from './strict-requests.ts';

/** What a request has to pass, by whichever way it comes. */
export interface RequestGuard {
  /** Signs in whoever asks and puts them into the context; gives the error to answer with, where that fails. */
  authenticate(authorization: string | null, context: Partial<Context>): Promise<GraphQLError | undefined>;
  /** Waits until the document of a request may be read and carried out. */
  waitForTurn(context: Partial<Context>): Promise<void>;
  /** The error to answer with instead of carrying out an operation, if there is one. */
  check(
    args: Pick<ExecutionArgs, 'document' | 'operationName' | 'variableValues'>,
    context: Partial<Context>,
  ): GraphQLError | undefined;
}

/** What admission takes. */
export interface RequestGuardOptions {
  authentication: Authentication;
  /** Whether the schema may be read without a key. */
  openIntrospection: boolean;
  maskError: ErrorMasker;
  connections: { scheduler: FairScheduler };
}

/**
 * Lets nobody in without a key. `openIntrospection` lets tools read the schema, and nothing else, without one:
 * in production a stranger does not even get to see which fields are misspelt.
 *
 * Checks the variables before graphql does: graphql's own message repeats the whole value, tokens included.
 * Every misshapen part is reported at once, with its path.
 */
export function createRequestGuard(
  schema: GraphQLSchema,
  { authentication, openIntrospection, maskError, connections: { scheduler } }: RequestGuardOptions,
): RequestGuard {
  const scrub = createMessageRedactor(schema);
  /** Operations that cost no more than they may whatever their variables are. */
  const affordable = new WeakSet<OperationDefinitionNode>();
  const assertAffordable = (input: Required<CostInput>): void => {
    const { document, operation } = input;
    if (affordable.has(operation)) return;
    if (calculateCost(schema, { document, operation }) <= maxCost) {
      affordable.add(operation);
      return;
    }
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
        const isOpen = authorization === null && openIntrospection;
        if (isOpen && error instanceof AppError && error.code === 'UNAUTHENTICATED') return undefined;
        return maskError(error);
      }
    },
    waitForTurn: ({ caller }) => scheduler.waitForTurn(caller?.orgId ?? ''),
    check({ document, operationName, variableValues }, { caller }) {
      const operation = getOperationAST(document, operationName);
      if (!caller && !isIntrospection(operation)) return maskError(unauthenticated());
      if (!operation) return undefined;
      const record = currentRequest.getStore();
      if (record && operation.name) record.operation = operation.name.value.slice(0, 64);
      const issues: Issue[] = [];
      try {
        assertAffordable({ document, operation, variables: variableValues ?? {} });
        collectVariableErrors(schema, operation, variableValues ?? {}, scrub, issues);
      } catch (error) {
        if (error !== enough) return maskError(error);
      }
      return issues.length > 0 ? maskError(validationError(issues)) : undefined;
    },
  };
}

/** Admission on Yoga's own way; it has to come after what sets the parser of requests. For queries and mutations and for subscriptions alike. */
export function useRequestGuard({
  authenticate,
  waitForTurn,
  check,
}: RequestGuard): Plugin<Context, NodeServerContext> {
  const hook = ({ args, setResultAndStopExecution }: Payload) => {
    const error = check(args, args.contextValue);
    if (error) setResultAndStopExecution({ errors: [error] });
  };
  return {
    // Before the body is read and parsed, which a stranger could otherwise ask for any number of times.
    onRequestParse({ request, serverContext, requestParser, setRequestParser }) {
      if (!requestParser || serverContext.isAuthenticated) return;
      setRequestParser(async (given) => {
        const error = await authenticate(request.headers.get('authorization'), serverContext);
        // Thrown, so that nothing else looks at the request.
        if (error) throw error;
        const params = await requestParser(given);
        await waitForTurn(serverContext);
        return params;
      });
    },
    onExecute: hook,
    onSubscribe: hook,
  };
}

/** What the hooks before executing and before subscribing have in common. */
interface Payload {
  args: ExecutionArgs & { contextValue: Context };
  setResultAndStopExecution(result: ExecutionResult): void;
}

function isIntrospection(operation: OperationDefinitionNode | null | undefined): boolean {
  return (
    operation?.operation === 'query' &&
    operation.selectionSet.selections.every(
      (selection) => selection.kind === Kind.FIELD && selection.name.value.startsWith('__'),
    )
  );
}

const notOfItsType = 'This is not a value of its type; the schema says what is.';
/** As many broken rules as this are told of: an answer is not to be many times as long as what it answers. */
const maxIssues = 100;
const enough = new Error(`There are ${maxIssues} broken rules.`);

/** @throws `enough`, when that many have been found */
function collectVariableErrors(
  schema: GraphQLSchema,
  operation: OperationDefinitionNode,
  values: Readonly<Record<string, unknown>>,
  scrub: (error: GraphQLError) => string,
  issues: Issue[],
): void {
  for (const { variable, type: typeNode, defaultValue } of operation.variableDefinitions ?? []) {
    const name = variable.name.value;
    const type = typeFromAST(schema, typeNode);
    if (!isInputType(type)) continue;
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    if (value === undefined) {
      if (isNonNullType(type) && !defaultValue)
        issues.push({ path: [name], message: `A value of type ${type} is needed.` });
      continue;
    }
    if (hasLongList(value)) {
      issues.push({ path: [name, ...fieldWithLongList(type, value)], message: listTooLong });
      continue;
    }
    const misshapen: Issue['path'][] = [];
    const coerced: unknown = coerceInputValue(value, type, (path, part, error) => {
      misshapen.push(path);
      if (issues.length >= maxIssues) throw enough;
      const message = scrub(error);
      // A scalar words its own refusal, and may put the value into it.
      const isRepeated = typeof part === 'string' && part !== '' && message.includes(part);
      issues.push({ path: [name, ...path], message: isRepeated ? notOfItsType : message });
    });
    if (misshapen.length === 0) continue;
    for (const { path, message } of collectSchemaIssues(type, coerced, misshapen)) {
      if (issues.length < maxIssues) issues.push({ path: [name, ...path], message });
    }
  }
}

/** The field of an input that a long list is in. Names are taken from the schema: those in the value may be anything. */
function fieldWithLongList(type: GraphQLInputType, value: unknown): string[] {
  const named = getNullableType(type);
  if (!isInputObjectType(named)) return [];
  return Object.keys(named.getFields())
    .filter((field) => hasLongList(Object(value)[field]))
    .slice(0, 1);
}
