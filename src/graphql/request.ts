import { GraphQLError } from 'graphql';
import type { GraphQLParams, Plugin } from 'graphql-yoga';

/**
 * Takes bodies of plain JSON in UTF-8 and no others: forms and plain text are what pages elsewhere can send without
 * asking first. What cannot be read is refused, and nothing of it is in any message.
 */
export function useStrictRequests(): Plugin {
  return {
    onRequestParse({ request, requestParser, setRequestParser, endResponse, fetchAPI }) {
      if (request.method === 'POST') {
        if (isPlainJson(request.headers)) setRequestParser(readBody);
        else
          endResponse(new fetchAPI.Response(null, { status: 415, headers: { accept: 'application/json' } }));
      } else if (requestParser) {
        setRequestParser(async (given) => {
          try {
            return await requestParser(given);
          } catch {
            throw unreadable('The parameters "variables" and "extensions" have to be JSON.');
          }
        });
      }
    },
  };
}

function isPlainJson(headers: Headers): boolean {
  const type = headers.get('content-type') ?? '';
  const encoding = headers.get('content-encoding') ?? 'identity';
  return /^application\/json *(; *charset="?utf-8"? *)?$/i.test(type) && encoding === 'identity';
}

async function readBody(request: Request): Promise<GraphQLParams> {
  const bytes = await request.arrayBuffer().catch((error: unknown) => {
    // It is too large, or whoever sends it has left.
    throw error instanceof GraphQLError ? error : unreadable('The body has no end.');
  });
  const value = parse(bytes);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw unreadable('The body has to be one JSON object.');
}

function parse(bytes: ArrayBuffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw unreadable('The body is not JSON in UTF-8.');
  }
}

function unreadable(message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code: 'BAD_REQUEST', http: { status: 400 } } });
}
