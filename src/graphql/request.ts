import type { IncomingMessage, ServerResponse } from 'node:http';
import { GraphQLError } from 'graphql';
import type { GraphQLParams, Plugin } from 'graphql-yoga';
import { maxBodyBytes } from './limits.ts';

/** A request, what its answer goes out by, and what is asked if that has been read already. */
export interface Received {
  req: IncomingMessage;
  res: ServerResponse;
  params?: GraphQLParams;
}

/**
 * Takes bodies of plain JSON in UTF-8 and no others: forms and plain text are what pages elsewhere can send without
 * asking first. What cannot be read is refused, and nothing of it is in any message.
 */
export function useStrictRequests(): Plugin<object, Received> {
  return {
    onRequestParse({ request, serverContext, requestParser, setRequestParser, endResponse, fetchAPI }) {
      if (request.method === 'POST') {
        const { req, params } = serverContext;
        if (isPlainJson(request.headers)) setRequestParser(async () => params ?? readBody(req));
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

/** Whether the body of a request is said to be JSON in UTF-8, and nothing beside. */
export function isPlainJson(headers: Pick<Headers, 'get'>): boolean {
  const type = headers.get('content-type') ?? '';
  const encoding = headers.get('content-encoding') ?? 'identity';
  return /^application\/json *(; *charset="?utf-8"? *)?$/i.test(type) && encoding === 'identity';
}

/**
 * What is asked.
 *
 * @throws GraphQLError when the body is too large, or is not one JSON object, or does not come to an end
 */
export async function readBody(request: IncomingMessage): Promise<GraphQLParams> {
  return objectIn(await bytesOf(request));
}

function objectIn(bytes: Buffer): GraphQLParams {
  const value = parse(bytes);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw unreadable('The body has to be one JSON object.');
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > maxBodyBytes) throw tooLarge();
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on('data', (chunk: Buffer) => {
      length += chunk.byteLength;
      if (length <= maxBodyBytes) chunks.push(chunk);
      else reject(tooLarge());
    });
    request.once('end', () => resolve(Buffer.concat(chunks)));
    request.once('close', () => request.complete || reject(unreadable('The body has no end.')));
  });
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch {
    throw unreadable('The body is not JSON in UTF-8.');
  }
}

function unreadable(message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code: 'BAD_REQUEST', http: { status: 400 } } });
}

function tooLarge(): GraphQLError {
  return new GraphQLError(`The body has more than ${maxBodyBytes} bytes.`, {
    extensions: { code: 'REQUEST_ENTITY_TOO_LARGE', http: { status: 413 } },
  });
}
