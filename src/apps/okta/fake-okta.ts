import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { type FakeOktaResponse, oktaError, respondAsOkta } from './fake-okta-responses.ts';
import { findFakeToken, respondToTokenRequest } from './fake-okta-tokens.ts';

/** Writes a response. */
export function writeFakeOktaResponse(
  response: ServerResponse,
  { status, headers, body }: FakeOktaResponse,
): void {
  response.writeHead(status, headers).end(body && JSON.stringify(body));
}

/** Handles a request like Okta. */
export function handleFakeOkta(request: IncomingMessage, response: ServerResponse): void {
  respond(request).then(
    (answer) => writeFakeOktaResponse(response, answer),
    () => response.destroy(),
  );
}

async function respond(request: IncomingMessage): Promise<FakeOktaResponse> {
  const { method = 'GET', url: path = '/', headers } = request;
  const { authorization } = headers;
  if (path === '/oauth2/v1/token') {
    if (method !== 'POST') return oktaError('E0000022');
    return respondToTokenRequest(headers, await text(request));
  }
  return respondAsOkta({ method, path, authorization, token: await findFakeToken(headers, method, path) });
}

/**
 * Starts the fake Okta organisation that replaces `https://example.okta.com` in development. It serves plain HTTP on a
 * free loopback port. `url` is its origin; `close` also ends idle keep-alive connections.
 */
export async function startFakeOkta(): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(handleFakeOkta).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the fake Okta has no port');
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
