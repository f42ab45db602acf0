import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type FakeOktaResponse, respondAsOkta } from './fake-okta-responses.ts';

/** Writes an answer to the wire. */
export function writeFakeOktaResponse(
  response: ServerResponse,
  { status, headers, body }: FakeOktaResponse,
): void {
  response.writeHead(status, headers).end(JSON.stringify(body));
}

/** Answers one request as Okta would. */
export function handleFakeOkta(request: IncomingMessage, response: ServerResponse): void {
  const { method = 'GET', url: path = '/', headers } = request;
  writeFakeOktaResponse(response, respondAsOkta({ method, path, authorization: headers.authorization }));
}

/**
 * Starts the Okta organisation that answers for `https://example.okta.com` in development: plain HTTP on a free
 * port of this machine. `url` is its origin; `close` also ends connections that are being kept alive.
 */
export async function startFakeOkta(): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(handleFakeOkta).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the stand-in has no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
