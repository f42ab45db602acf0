import type { IncomingMessage, ServerResponse } from 'node:http';
import type { GraphQLParams, Plugin } from 'graphql-yoga';
import { unauthenticated } from '../auth/authentication-error.ts';
import { HttpError } from '../common/errors.ts';
import { readJsonBody } from '../http/json-body.ts';
import type { Context } from './context.ts';

/** Yoga's server context: request, response, and the parameters if they were read before. */
export interface NodeServerContext extends Pick<Context, 'caller' | 'assertStillAuthenticated'> {
  req: IncomingMessage;
  res: ServerResponse;
  params?: GraphQLParams;
  /** Set by the fast path, so that a request is not authenticated and counted twice. */
  isAuthenticated?: true;
}

/**
 * Accepts only JSON bodies: pages of other origins can send forms and plain text without a CORS preflight. Messages never
 * quote the request.
 */
export function useStrictRequests(): Plugin<object, NodeServerContext> {
  return {
    onRequestParse({ request, serverContext, requestParser, setRequestParser }) {
      if (request.method === 'POST') {
        setRequestParser(async () => serverContext.params ?? readParams(serverContext));
      } else if (requestParser) {
        setRequestParser(async (fetchRequest) => {
          assertNoRepeats(fetchRequest.url);
          try {
            return await requestParser(fetchRequest);
          } catch {
            throw new HttpError(
              400,
              'BAD_USER_INPUT',
              'The parameters "variables" and "extensions" must be JSON.',
              { remedy: 'Encode them with JSON.stringify and encodeURIComponent.' },
            );
          }
        });
      }
    },
  };
}

/** @throws HttpError (400) for a repeated parameter, which a proxy could interpret differently */
function assertNoRepeats(url: string): void {
  const names = [...new URL(url, 'http://localhost').searchParams.keys()];
  if (new Set(names).size === names.length) return;
  throw new HttpError(400, 'BAD_USER_INPUT', 'A parameter of the query string occurs more than once.', {
    remedy: 'Send each parameter once.',
  });
}

/**
 * Reads the GraphQL parameters from the body of a POST.
 *
 * @throws HttpError as `readJsonBody` does
 * @throws AppError `UNAUTHENTICATED` in place of a 413 for a request without a credential, which may only be introspection
 */
export async function readParams({ req, caller }: NodeServerContext): Promise<GraphQLParams> {
  try {
    return withoutEmptyName(await readJsonBody(req));
  } catch (error) {
    if (!caller && error instanceof HttpError && error.status === 413) throw unauthenticated();
    throw error;
  }
}

/** Some clients send an empty `operationName` for an anonymous operation. */
function withoutEmptyName(params: GraphQLParams): GraphQLParams {
  if (params.operationName !== '') return params;
  const { operationName: _, ...others } = params;
  return others;
}
