import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type DocumentNode,
  type ExecutionResult,
  execute,
  type GraphQLError,
  type GraphQLSchema,
  Kind,
} from 'graphql';
import { type GraphQLParams, processRegularResult, type YogaServerInstance } from 'graphql-yoga';
import { createDisconnectSignal } from '../http/disconnect-signal.ts';
import type { Context } from './context.ts';
import type { DocumentCache } from './document-cache.ts';
import type { ErrorMasker } from './error-masking.ts';
import { maskErrors, statusMessage } from './plugins.ts';
import type { RequestGuard } from './request-guard.ts';
import { type NodeServerContext, readParams } from './strict-requests.ts';

type Yoga = YogaServerInstance<NodeServerContext, Omit<Context, 'request'>>;

/** What the short road is made of. */
export interface FastPathDeps {
  yoga: Yoga;
  schema: GraphQLSchema;
  /** The context that resolvers get, but for who asks. */
  buildContext(server: NodeServerContext): Omit<Context, 'request'>;
  requestGuard: RequestGuard;
  documents: DocumentCache;
  maskError: ErrorMasker;
}

/**
 * A shorter way into Yoga and out of it for what nearly all clients send: a POST of plain JSON that wants plain JSON
 * back. Parsing, validation, limits, authentication, masking and logging are Yoga's plugins on both ways; what is left
 * out are the Fetch API's objects and streams between Node and Yoga, which take longer than all of these. Documents in
 * the cache are not parsed and validated again, but all else is done for them too. Subscriptions and
 * everything else take the long way.
 */
export function createFastPath({
  yoga,
  schema,
  buildContext,
  requestGuard,
  documents,
  maskError,
}: FastPathDeps) {
  /** Carries out a cached document as Yoga would. */
  const run = async (
    document: DocumentNode,
    { variables, operationName }: GraphQLParams,
    request: LightweightRequest,
    server: NodeServerContext,
  ): Promise<ExecutionResult> => {
    const { caller, assertStillAuthenticated } = server;
    const context: Context = {
      ...buildContext(server),
      ...(caller && { caller }),
      ...(assertStillAuthenticated && { assertStillAuthenticated }),
      request,
    };
    const args = { document, operationName, variableValues: variables ?? {} };
    const error = requestGuard.check(args, context);
    return error ? { errors: [error] } : execute({ ...args, schema, contextValue: context });
  };
  const resultOf = async (params: GraphQLParams, server: NodeServerContext): Promise<ExecutionResult> => {
    const request = new LightweightRequest(server);
    try {
      const document = typeof params.query === 'string' ? documents.get(params.query) : undefined;
      if (document && isEligible(params, document)) return await run(document, params, request, server);
      const asked = { params, request: request as unknown as Request };
      // Only subscriptions come as one result after another.
      return (await yoga.getResultForParams(asked, server)) as ExecutionResult;
    } catch (error) {
      return { errors: [error as GraphQLError] };
    }
  };
  const send = async (result: ExecutionResult, response: ServerResponse, mediaType: string) => {
    if (!result.errors) {
      const body = JSON.stringify(result);
      const length = Buffer.byteLength(body);
      response.writeHead(200, { 'content-type': `${mediaType}; charset=utf-8`, 'content-length': length });
      // Of ASCII it is the same bytes, and much faster.
      response.end(body, length === body.length ? 'latin1' : 'utf8');
      return;
    }
    const processed = processRegularResult(maskErrors(result, maskError), yoga.fetchAPI, mediaType);
    const text = (await processed.text()) || statusMessage(processed.status);
    response.writeHead(processed.status, Object.fromEntries(processed.headers)).end(text);
  };
  return async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const mediaType = req.method === 'POST' && negotiateMediaType(req);
    if (!mediaType) return yoga(req, res) as Promise<void>;
    const server: NodeServerContext = { req, res, isAuthenticated: true };
    // Before the body is read and parsed, which a stranger could otherwise ask for any number of times.
    const refusal = await requestGuard.authenticate(req.headers.authorization ?? null, server);
    if (refusal) return send({ errors: [refusal] }, res, mediaType);
    try {
      server.params = await readParams(req);
      await requestGuard.waitForTurn(server);
    } catch (error) {
      return send({ errors: [error as GraphQLError] }, res, mediaType);
    }
    if (maySubscribe(server.params)) return yoga(req, res, server) as Promise<void>;
    return send(await resultOf(server.params, server), res, mediaType);
  };
}

/** Whether the word is anywhere in the document, or the document is not there to be looked at. */
function maySubscribe({ query }: GraphQLParams): boolean {
  return !query || (typeof query === 'string' && /\bsubscription\b/.test(query));
}

/** Whether there is nothing about a request that Yoga would have to say something about. */
function isEligible(
  { query, variables, operationName, extensions, ...others }: GraphQLParams,
  { definitions }: DocumentNode,
): boolean {
  const operations = definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
  return (
    isObjectOrNothing(variables) &&
    isObjectOrNothing(extensions) &&
    Object(extensions).persistedQuery == null &&
    operations.length === 1 &&
    (operationName == null || operationName === operations[0]?.name?.value) &&
    Object.keys(others).length === 0
  );
}

function isObjectOrNothing(value: unknown): boolean {
  return value == null || (typeof value === 'object' && !Array.isArray(value));
}

/** What an answer is to be, if it is to be nothing but JSON at once; the first of the two that is named. */
function negotiateMediaType({ headers: { accept = '*/*' } }: IncomingMessage): string | undefined {
  const types = accept.split(',').map((type) => type.trim().toLowerCase());
  const known = types.map((type) => mediaTypes.get(type));
  return known.includes(undefined) ? undefined : known[0];
}

const mediaTypes = new Map([
  ['application/graphql-response+json', 'application/graphql-response+json'],
  ['application/graphql-response+json; charset=utf-8', 'application/graphql-response+json'],
  ['application/json', 'application/json'],
  ['application/json; charset=utf-8', 'application/json'],
  ['*/*', 'application/json'],
]);

function toHeaders({ headers }: IncomingMessage): Pick<Headers, 'get'> {
  return {
    get: (name) => {
      const value = headers[name.toLowerCase()];
      return Array.isArray(value) ? value.join(', ') : (value ?? null);
    },
  };
}

/**
 * As much of a Request as plugins and resolvers look at. It is a class, because an object with a getter of its own has a
 * shape of its own, which with all that the getter sees is kept until the next full collection of garbage.
 */
class LightweightRequest implements Pick<Request, 'method' | 'url' | 'signal'> {
  readonly method = 'POST';
  readonly url: string;
  readonly headers: Pick<Headers, 'get'>;
  readonly #response: ServerResponse;
  #signal: AbortSignal | undefined;

  constructor({ req, res }: NodeServerContext) {
    this.url = req.url ?? '';
    this.headers = toHeaders(req);
    this.#response = res;
  }

  /** Aborts when the client disconnects. It is made on first use, because few operations need it. */
  get signal(): AbortSignal {
    this.#signal ??= createDisconnectSignal(this.#response);
    return this.#signal;
  }
}
