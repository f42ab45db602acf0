import {
  GraphQLError,
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
  Lexer,
  Source,
  TokenKind,
} from 'graphql';
import { AppError, type ErrorCode, errorCodes, HttpError, type Issue } from '../common/errors.ts';
import { type Logger, logUnexpectedError } from '../common/log.ts';
import { toServiceUnavailable } from '../database/outage.ts';
import { DataKeyError, describeDataKeyError } from '../encryption/data-key-error.ts';
import { retryAfterSeconds } from '../http/retry-after.ts';

/** Converts any error to the error of the response. */
export type ErrorMasker = (error: unknown) => GraphQLError;

/**
 * Creates the error masker. An `AppError` keeps its message; an error of graphql-js about the request keeps its message
 * without the values in it; any other error becomes `INTERNAL_SERVER_ERROR` with only the request id.
 */
export function createErrorMasker(schema: GraphQLSchema, log: Logger): ErrorMasker {
  const redact = createMessageRedactor(schema);
  const masked = new WeakSet<GraphQLError>();
  const createMaskedError = (
    code: ErrorCode,
    message: string,
    { nodes, source, positions, path }: Partial<GraphQLError>,
    extensions: Record<string, unknown>,
  ): GraphQLError => {
    const defined = Object.entries(extensions).filter(([, value]) => value !== undefined);
    // The stack is never used, as with `AppError`.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    const result = new GraphQLError(message, {
      nodes,
      source,
      positions,
      path,
      extensions: { code, ...Object.fromEntries(defined) },
    });
    Error.stackTraceLimit = stackTraceLimit;
    masked.add(result);
    return result;
  };
  return (error) => {
    if (error instanceof GraphQLError && masked.has(error)) return error;
    const origin = originalError(error);
    const cause = toServiceUnavailable(origin, log) ?? origin;
    const outer: Partial<GraphQLError> = error instanceof GraphQLError ? error : {};
    if (cause instanceof AppError)
      return createMaskedError(cause.code, cause.message, outer, errorExtensions(cause));
    // Without a path, the error is about the request. With one, a resolver threw it, which is a fault of the server.
    if (cause instanceof GraphQLError && !cause.path) {
      const message = redact(cause);
      return createMaskedError('BAD_USER_INPUT', message, cause, {
        ...requestDetails(message),
        http: readHttpExtensions(cause),
      });
    }
    // A stack overflow without a path: it happened during parsing or validation, before execution.
    if (cause instanceof RangeError && !outer.path) {
      const message = 'The request is nested too deeply.';
      return createMaskedError('BAD_USER_INPUT', message, {}, requestDetails(message));
    }
    const { message, ...details } =
      cause instanceof DataKeyError
        ? describeDataKeyError(cause)
        : logUnexpectedError(log, cause, { path: outer.path });
    return createMaskedError('INTERNAL_SERVER_ERROR', message, outer, details);
  };
}

function requestDetails(message: string): { issues: Issue[]; remedy: string } {
  return {
    issues: [{ path: [], message }],
    remedy:
      remedies.find(([pattern]) => pattern.test(message))?.[1] ??
      'Correct the request and send it again; nothing was changed.',
  };
}

/** Remedies for messages of graphql-js and Yoga about the members of a request. */
const remedies: readonly (readonly [RegExp, string])[] = [
  [
    /^Must provide query string/,
    'Send the document as query: in the JSON body of a POST, or in the query string of a GET.',
  ],
  [/^Could not determine what operation/, 'Name one of the operations of the document in operationName.'],
  [/^Unexpected parameter/, 'Send query, variables, operationName and extensions, and nothing else.'],
];

function errorExtensions(error: AppError): Record<string, unknown> {
  const { message, remedy, retryAt, currentVersion, upstreamRequestId } = error;
  const issues = error instanceof HttpError ? [{ path: [], message }] : error.issues;
  return {
    issues,
    remedy,
    retryAt: retryAt?.toISOString(),
    currentVersion,
    upstreamRequestId,
    http: httpExtensions(error),
  };
}

/** The HTTP status and headers of errors that concern the whole request. Other errors concern one field: undefined. */
function httpExtensions(error: AppError) {
  if (error instanceof HttpError) return { status: error.status, headers: error.headers };
  const { code, retryAt } = error;
  const { status } = errorCodes[code];
  switch (code) {
    case 'UNAUTHENTICATED':
      return { status, headers: { 'www-authenticate': 'Bearer' } };
    case 'ORGANISATION_DISABLED':
      return { status };
    case 'PERSISTED_QUERY_NOT_FOUND':
      // As in Apollo Server, because some clients ignore the body of a response with an error status.
      return { status: 200 };
    case 'RATE_LIMITED':
    case 'SERVICE_UNAVAILABLE':
      return { status, headers: retryAt && { 'retry-after': retryAfterSeconds(retryAt) } };
    default:
      return undefined;
  }
}

/** A request that is not a GraphQL request is a 400 for every media type; with `spec`, Yoga answers `application/json` with 200. */
function readHttpExtensions({ extensions: { code, http } }: GraphQLError) {
  return http && code === 'BAD_REQUEST' ? { ...http, spec: false } : http;
}

function originalError(error: unknown): unknown {
  return error instanceof GraphQLError && error.originalError ? originalError(error.originalError) : error;
}

/**
 * Creates a function that removes quoted values from messages of graphql-js, because a value can be a token in the wrong
 * place. Names of the schema stay. A message that still contains a literal of the document is replaced completely.
 */
export function createMessageRedactor(schema: GraphQLSchema): (error: GraphQLError) => string {
  const names = schemaNames(schema);
  return (error) => {
    // Only messages that quote the request are that long, and the search takes quadratic time.
    if (error.message.length > maxMessageLength) return 'The request contains an unknown name or value.';
    const unquoted = withoutValues(error.message.replace(nameOfVariable, '$1 [not shown] $2'));
    const message = unquoted.replace(/"((?:[^"\\]|\\.)*)"/g, (quoted, text: string) =>
      /^[^\w\s"]{1,3}$/.test(text) || names.has(text.replace(/[[\]!]/g, '')) ? quoted : '[not shown]',
    );
    return literalsIn(error.source).some((value) => message.includes(value))
      ? 'The document is not valid.'
      : message;
  };
}

/** A name or value in variables that has quotation marks, such as a JWK, so that its parts would not look like quoted ones. */
const nameOfVariable = /^(Field|Value) ".*".*" (is not defined by type|does not exist in)(?= ")/s;

/** The maximum length of a message of graphql-js. Messages that quote only names of the schema have about 100 characters. */
const maxMessageLength = 1_000;

function withoutValues(message: string): string {
  if (message.startsWith('Syntax Error')) {
    return message.replace(/\b(String|BlockString|Name|Int|Float|Comment) ".*"/s, '$1');
  }
  if (message.startsWith('Argument ')) return 'An argument has a value that is not of its type.';
  return message.replace(/(: |, found ).*$/s, '.').replace(/\.\.$/, '.');
}

function schemaNames(schema: GraphQLSchema): ReadonlySet<string> {
  const names = new Set([
    'query',
    'variables',
    'operationName',
    'extensions',
    ...schema.getDirectives().flatMap(({ name, args }) => [name, ...args.map((arg) => arg.name)]),
  ]);
  for (const type of Object.values(schema.getTypeMap())) {
    names.add(type.name);
    if (isEnumType(type)) for (const { name } of type.getValues()) names.add(name);
    if (isInputObjectType(type)) for (const name of Object.keys(type.getFields())) names.add(name);
    if (isObjectType(type) || isInterfaceType(type)) {
      for (const field of Object.values(type.getFields())) {
        names.add(field.name);
        for (const { name } of field.args) names.add(name);
      }
    }
  }
  return names;
}

/** A cache: a document can have a hundred errors, and is tokenised once. */
const valuesBySource = new WeakMap<Source, string[]>();

/** The literal values of a document, up to the first invalid token. */
function literalsIn(source: Source | undefined): string[] {
  if (!source) return [];
  const cached = valuesBySource.get(source);
  if (cached) return cached;
  const values: string[] = [];
  valuesBySource.set(source, values);
  const lexer = new Lexer(new Source(source.body));
  try {
    for (let token = lexer.advance(); token.kind !== TokenKind.EOF; token = lexer.advance()) {
      const isValue = token.kind === TokenKind.STRING || token.kind === TokenKind.BLOCK_STRING;
      if (isValue && token.value && token.value.length > 3) values.push(token.value);
    }
  } catch {
    // graphql cannot quote a value after the invalid token either, because it could not read it.
  }
  return values;
}
