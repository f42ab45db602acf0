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
import {
  AppError,
  type ErrorCode,
  errorCodes,
  HttpError,
  type Issue,
  retryAfterSeconds,
} from '../common/errors.ts';
import { type Logger, logUnexpectedError } from '../common/log.ts';
import { toServiceUnavailable } from '../database/outage.ts';

/** The gateway of errors that `createErrorMasker` makes. */
export type ErrorMasker = (error: unknown) => GraphQLError;

/**
 * Makes the one gateway through which every error leaves: problems as they are, graphql's own complaints without
 * the values they quote, and everything else as `INTERNAL_SERVER_ERROR` with nothing in it but the request id.
 */
export function createErrorMasker(schema: GraphQLSchema, log: Logger): ErrorMasker {
  const scrub = createMessageRedactor(schema);
  const done = new WeakSet<GraphQLError>();
  const shaped = (
    code: ErrorCode,
    message: string,
    { nodes, source, positions, path }: Partial<GraphQLError>,
    extensions: Record<string, unknown>,
  ): GraphQLError => {
    const defined = Object.entries(extensions).filter(([, value]) => value !== undefined);
    // As for an `AppError`.
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
    done.add(result);
    return result;
  };
  return (error) => {
    if (error instanceof GraphQLError && done.has(error)) return error;
    const origin = originalError(error);
    const cause = toServiceUnavailable(origin, log) ?? origin;
    const outer: Partial<GraphQLError> = error instanceof GraphQLError ? error : {};
    if (cause instanceof AppError) return shaped(cause.code, cause.message, outer, errorExtensions(cause));
    // Without a path it is about the request; with one it happened while resolving, which is our fault.
    if (cause instanceof GraphQLError && !cause.path) {
      const message = scrub(cause);
      return shaped('BAD_USER_INPUT', message, cause, {
        ...requestDetails(message),
        http: readHttpExtensions(cause),
      });
    }
    // The stack ran out while the request was read, before any of it was carried out.
    if (cause instanceof RangeError && !outer.path) {
      const message = 'The request is nested too deeply.';
      return shaped('BAD_USER_INPUT', message, {}, requestDetails(message));
    }
    const { message, ...details } = logUnexpectedError(log, cause, { path: outer.path });
    return shaped('INTERNAL_SERVER_ERROR', message, outer, details);
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

/** What to do about what the library says of the members of a request. */
const remedies: readonly (readonly [RegExp, string])[] = [
  [
    /^Must provide query string/,
    'Send the document as query: in the JSON body of a POST, or in the query string of a GET.',
  ],
  [/^Could not determine what operation/, 'Name one of the operations of the document in operationName.'],
  [/^Unexpected parameter/, 'Send query, variables, operationName and extensions, and nothing else.'],
];

function errorExtensions(problem: AppError): Record<string, unknown> {
  const { message, remedy, retryAt, currentVersion } = problem;
  const issues = problem instanceof HttpError ? [{ path: [], message }] : problem.issues;
  return {
    issues,
    remedy,
    retryAt: retryAt?.toISOString(),
    currentVersion,
    http: httpExtensions(problem),
  };
}

/** What is about the whole request, or whatever of it there is to come, HTTP may say too; the rest is about one field. */
function httpExtensions(problem: AppError) {
  if (problem instanceof HttpError) return { status: problem.status, headers: problem.headers };
  const { code, retryAt } = problem;
  const { status } = errorCodes[code];
  switch (code) {
    case 'UNAUTHENTICATED':
      return { status, headers: { 'www-authenticate': 'Bearer' } };
    case 'PERSISTED_QUERY_NOT_FOUND':
      // As Apollo Server has it: not all clients read the errors of an answer that failed.
      return { status: 200 };
    case 'RATE_LIMITED':
    case 'SERVICE_UNAVAILABLE':
      return { status, headers: retryAt && { 'retry-after': retryAfterSeconds(retryAt) } };
    default:
      return undefined;
  }
}

/** What is no GraphQL request at all is a 400 for everybody; with `spec`, clients of `application/json` get 200. */
function readHttpExtensions({ extensions: { code, http } }: GraphQLError) {
  return http && code === 'BAD_REQUEST' ? { ...http, spec: false } : http;
}

function originalError(error: unknown): unknown {
  return error instanceof GraphQLError && error.originalError ? originalError(error.originalError) : error;
}

/**
 * graphql's messages quote what the caller sent, and what the caller sent may be a token in the wrong place.
 * Names of the schema stay; everything else that is quoted goes; a message in which a piece of the document is
 * still to be found after that is not used at all.
 */
export function createMessageRedactor(schema: GraphQLSchema): (error: GraphQLError) => string {
  const names = schemaNames(schema);
  return (error) => {
    // What is that long quotes the caller, and searching it takes time that grows with the square of its length.
    if (error.message.length > maxMessageLength)
      return 'The request has a name or a value that is not known.';
    const message = withoutValues(error.message).replace(/"((?:[^"\\]|\\.)*)"/g, (quoted, text: string) =>
      /^[^\w\s"]{1,3}$/.test(text) || names.has(text.replace(/[[\]!]/g, '')) ? quoted : '[not shown]',
    );
    return literalsIn(error.source).some((value) => message.includes(value))
      ? 'The document is not valid.'
      : message;
  };
}

/** Characters of a message of graphql's; those that quote nothing but names of the schema have some 100. */
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

/** A document may have a hundred errors, and is read once for all of them. */
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
