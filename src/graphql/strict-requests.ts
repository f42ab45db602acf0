import type { IncomingMessage, ServerResponse } from 'node:http';
import type { GraphQLParams, Plugin } from 'graphql-yoga';
import { HttpError } from '../common/errors.ts';
import { readJsonBody } from '../http/json-body.ts';
import type { Context } from './context.ts';

/** A request, what its answer goes out by, and what is asked if that has been read already. */
export interface NodeServerContext extends Pick<Context, 'caller' | 'assertStillAuthenticated'> {
  req: IncomingMessage;
  res: ServerResponse;
  params?: GraphQLParams;
  /** Whether admission has let it in, so that it is not counted twice. */
  isAuthenticated?: true;
}

/**
 * Takes bodies of plain JSON in UTF-8 and no others: forms and plain text are what pages elsewhere can send without
 * asking first. What cannot be read is refused, and nothing of it is in any message.
 */
export function useStrictRequests(): Plugin<object, NodeServerContext> {
  return {
    onRequestParse({ request, serverContext, requestParser, setRequestParser }) {
      if (request.method === 'POST') {
        const { req, params } = serverContext;
        setRequestParser(async () => params ?? readParams(req));
      } else if (requestParser) {
        setRequestParser(async (given) => {
          assertNoRepeats(given.url);
          try {
            return await requestParser(given);
          } catch {
            throw new HttpError(
              400,
              'BAD_USER_INPUT',
              'The parameters "variables" and "extensions" have to be JSON.',
              { remedy: 'Encode them with JSON.stringify and encodeURIComponent.' },
            );
          }
        });
      }
    },
  };
}

/** @throws HttpError (400) for what two readers could read differently */
function assertNoRepeats(url: string): void {
  const names = [...new URL(url, 'http://localhost').searchParams.keys()];
  if (new Set(names).size === names.length) return;
  throw new HttpError(400, 'BAD_USER_INPUT', 'A parameter of the query string is there several times.', {
    remedy: 'Give each of them once.',
  });
}

/**
 * What a POST asks.
 *
 * @throws HttpError as `readJsonBody`
 */
export async function readParams(request: IncomingMessage): Promise<GraphQLParams> {
  return withoutEmptyName(await readJsonBody(request));
}

/** Some clients send an empty `operationName` for a document without names. */
function withoutEmptyName(params: GraphQLParams): GraphQLParams {
  if (params.operationName !== '') return params;
  const { operationName: _, ...others } = params;
  return others;
}
