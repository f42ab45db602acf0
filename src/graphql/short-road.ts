import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ExecutionResult, GraphQLError } from 'graphql';
import { processRegularResult, type YogaServerInstance } from 'graphql-yoga';
import type { Context } from './context.ts';
import { type Shaper, shapeErrors, textOf } from './plugins.ts';
import { isPlainJson, readBody } from './request.ts';

type Yoga = YogaServerInstance<Pick<Context, 'req' | 'res'>, Omit<Context, 'request'>>;

/**
 * A shorter way into Yoga and out of it for what nearly all clients send: a POST of plain JSON that wants plain JSON
 * back. Parsing, validation, limits, authentication, masking and logging are Yoga's plugins on both ways; what is left
 * out are the Fetch API's objects and streams between Node and Yoga, which take longer than all of these. Subscriptions
 * and everything else take the long way.
 */
export function createShortRoad(yoga: Yoga, shape: Shaper) {
  const resultOf = async (request: IncomingMessage, response: ServerResponse): Promise<ExecutionResult> => {
    try {
      const params = await readBody(request);
      const context = { req: request, res: response };
      const seen = asYogaSees(request, response);
      // Only subscriptions come as one result after another.
      return (await yoga.getResultForParams({ params, request: seen }, context)) as ExecutionResult;
    } catch (error) {
      return { errors: [error as GraphQLError] };
    }
  };
  const answer = async (request: IncomingMessage, response: ServerResponse, mediaType: string) => {
    const result = await resultOf(request, response);
    if (!result.errors) {
      const body = JSON.stringify(result);
      const length = Buffer.byteLength(body);
      response.writeHead(200, { 'content-type': `${mediaType}; charset=utf-8`, 'content-length': length });
      response.end(body);
      return;
    }
    const processed = processRegularResult(shapeErrors(result, shape), yoga.fetchAPI, mediaType);
    const text = (await processed.text()) || textOf(processed.status);
    response.writeHead(processed.status, Object.fromEntries(processed.headers)).end(text);
  };
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const mediaType = request.method === 'POST' && isPlainJson(headersOf(request)) && wanted(request);
    if (mediaType && !(await maySubscribe(request))) await answer(request, response, mediaType);
    else await yoga(request, response);
  };
}

/** Whether the word is anywhere in the document; what cannot be read does not. */
async function maySubscribe(request: IncomingMessage): Promise<boolean> {
  const params = await readBody(request).catch(() => undefined);
  return typeof params?.query === 'string' && /\bsubscription\b/.test(params.query);
}

/** What an answer is to be, if it is to be nothing but JSON at once; the first of the two that is named. */
function wanted({ headers: { accept = '*/*' } }: IncomingMessage): string | undefined {
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

function headersOf({ headers }: IncomingMessage): Pick<Headers, 'get'> {
  return {
    get: (name) => {
      const value = headers[name.toLowerCase()];
      return Array.isArray(value) ? value.join(', ') : (value ?? null);
    },
  };
}

/** As much of a Request as plugins and resolvers look at. */
function asYogaSees(request: IncomingMessage, response: ServerResponse): Request {
  let hangUp: AbortController | undefined;
  const seen = {
    method: 'POST',
    url: request.url ?? '',
    headers: headersOf(request),
    /** Aborts when whoever asked hangs up. Few look at it, so it is made only for these. */
    get signal(): AbortSignal {
      if (!hangUp) {
        const controller = new AbortController();
        hangUp = controller;
        if (response.destroyed) controller.abort();
        response.once('close', () => response.writableFinished || controller.abort());
      }
      return hangUp.signal;
    },
  };
  return seen as unknown as Request;
}
