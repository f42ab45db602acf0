import { finished } from 'node:stream';
import {
  coerceInputValue,
  type DocumentNode,
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
import type { Caller } from '../access/caller.ts';
import { unauthenticated } from '../access/sign-in-failure.ts';
import { badInput, type Issue, Problem } from '../errors.ts';
import { currentRequest } from '../log.ts';
import { type Context, callerOf } from './context.ts';
import { createScrubber } from './errors.ts';
import { hasLongList, tooLong } from './limits.ts';

/** The gateway of errors that `createErrorShaper` makes. */
export type Shaper = (error: unknown) => GraphQLError;

/**
 * Lets nobody in without a key. `openIntrospection` lets tools read the schema, and nothing else, without one:
 * in production a stranger does not even get to see which fields are misspelt.
 */
export function useAuthentication(options: {
  signIn: (authorization: string | null) => Promise<Caller>;
  authenticate: (authorization: string | null) => Promise<Caller>;
  openIntrospection: boolean;
  shape: Shaper;
}): Plugin<Context> {
  const { signIn, authenticate, openIntrospection, shape } = options;
  return {
    async onParams({ request, context, setResult }) {
      const authorization = request.headers.get('authorization');
      try {
        const caller = await signIn(authorization);
        const assertSignedIn = () => authenticate(authorization);
        Object.assign(context, { caller, assertSignedIn } satisfies Partial<Context>);
        const record = currentRequest.getStore();
        if (record) Object.assign(record, caller.actor);
      } catch (error) {
        const isOpen = authorization === null && openIntrospection;
        if (isOpen && error instanceof Problem && error.code === 'UNAUTHENTICATED') return;
        setResult({ errors: [shape(error)] });
      }
    },
    ...beforeEither(({ document, operationName, contextValue }) => {
      if (contextValue.caller || isIntrospection(document, operationName)) return undefined;
      return shape(unauthenticated());
    }),
  };
}

function isIntrospection(document: DocumentNode, operationName: string | null | undefined): boolean {
  const operation = getOperationAST(document, operationName);
  return (
    operation?.operation === 'query' &&
    operation.selectionSet.selections.every(
      (selection) => selection.kind === Kind.FIELD && selection.name.value.startsWith('__'),
    )
  );
}

/**
 * Checks the variables before graphql does: graphql's own message repeats the whole value, tokens included.
 * Every misshapen part is reported at once, with its path.
 */
export function useShapelyVariables(schema: GraphQLSchema, shape: Shaper): Plugin<Context> {
  const scrub = createScrubber(schema);
  return {
    ...beforeEither(({ document, operationName, variableValues }) => {
      const operation = getOperationAST(document, operationName);
      if (!operation) return undefined;
      const record = currentRequest.getStore();
      if (record && operation.name) record.operation = operation.name.value.slice(0, 64);
      const issues: Issue[] = [];
      try {
        findMisshapen(schema, operation, variableValues ?? {}, scrub, issues);
      } catch (error) {
        if (error !== enough) throw error;
      }
      return issues.length > 0 ? shape(badInput(issues)) : undefined;
    }),
  };
}

/** Looks at queries and mutations and at subscriptions alike, and carries none out for which there is an error. */
function beforeEither(check: (args: Payload['args']) => GraphQLError | undefined): Plugin<Context> {
  const hook = ({ args, setResultAndStopExecution }: Payload) => {
    const error = check(args);
    if (error) setResultAndStopExecution({ errors: [error] });
  };
  return { onExecute: hook, onSubscribe: hook };
}

/** What the hooks before executing and before subscribing have in common. */
interface Payload {
  args: ExecutionArgs & { contextValue: Context };
  setResultAndStopExecution(result: ExecutionResult): void;
}

/** What Yoga says with a bare status. */
const unspoken: Readonly<Record<number, string>> = {
  405: 'GraphQL is asked with POST.',
  406: 'GraphQL answers with application/graphql-response+json or application/json; the Accept header wants neither.',
  415: 'GraphQL is asked with Content-Type: application/json.',
};

/** What people read in an answer that would have a status and nothing else. */
export function textOf(status: number): string | undefined {
  return unspoken[status] && `${unspoken[status]}\n`;
}

/** Shapes the errors of a result, if it has any, and notes the first of them for the log. */
export function shapeErrors<Result extends Pick<ExecutionResult, 'data' | 'errors'>>(
  result: Result,
  shape: Shaper,
): Result {
  if (!result.errors) return result;
  const errors = result.errors.map(shape);
  // Whoever repeats the request on reading the status would do again what has been done.
  const isPartial = Object.values(result.data ?? {}).some((value) => value !== null);
  if (isPartial) for (const { extensions } of errors) delete extensions.http;
  const record = currentRequest.getStore();
  if (record) record.outcome = String(errors[0]?.extensions.code);
  return { ...result, errors };
}

/** The last gate: whatever errors an answer has, from whatever stage, they leave shaped. */
export function useShapedErrors(shape: Shaper): Plugin<Context> {
  return {
    onResultProcess({ result, setResult }) {
      if (!Array.isArray(result) && 'errors' in result) setResult(shapeErrors(result, shape));
    },
    onResponse({ response, setResponse, fetchAPI }) {
      // Whether answers may be kept is said in one place for all of them, and Yoga says otherwise of some.
      response.headers.delete('cache-control');
      const text = textOf(response.status);
      if (!text || response.body) return;
      setResponse(new fetchAPI.Response(text, { status: response.status, headers: response.headers }));
    },
  };
}

/**
 * Counts a subscription as open until its answer ends, however it ends, and refuses one that is too many. It has been
 * counted as a request like any other.
 */
export function useBoundedSubscriptions(shape: Shaper): Plugin<Context> {
  return {
    onSubscribe({ args, setResultAndStopExecution }) {
      const { connections, res } = args.contextValue;
      try {
        finished(res, connections.limits.openSubscription(callerOf(args.contextValue)));
      } catch (error) {
        setResultAndStopExecution({ errors: [shape(error)] });
      }
    },
  };
}

const notOfItsType = 'This is not a value of its type; the schema says what is.';
/** As many broken rules as this are told of: an answer is not to be many times as long as what it answers. */
const maxIssues = 100;
const enough = new Error(`There are ${maxIssues} broken rules.`);

/** @throws `enough`, when that many have been found */
function findMisshapen(
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
      issues.push({ path: [name, ...fieldWithLongList(type, value)], message: tooLong });
      continue;
    }
    coerceInputValue(value, type, (path, part, error) => {
      if (issues.length >= maxIssues) throw enough;
      const message = scrub(error);
      // A scalar words its own refusal, and may put the value into it.
      const isRepeated = typeof part === 'string' && part !== '' && message.includes(part);
      issues.push({ path: [name, ...path], message: isRepeated ? notOfItsType : message });
    });
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
