import { hash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { HttpError } from '../common/errors.ts';
import { currentRequest, type Logger } from '../common/log.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { getPublishedKeys } from '../connections/operations/published-keys.ts';
import { describeProblem } from './problem.ts';

/** The dependencies of the handler of public keys. */
export interface PublishedKeysOptions {
  connections: ConnectionDeps;
  log: Logger;
}

const pattern =
  /^\/\.well-known\/app-connections\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/jwks\.json(?:\?|$)/i;

/** For how long an app may use keys without asking again, in seconds. A new key is used only after the app has accepted it. */
const maxAgeSeconds = 60;

/**
 * Finds the connection whose public keys a URL names.
 *
 * @param url without the base path
 */
export function findPublishedKeys(url = ''): string | undefined {
  return pattern.exec(url)?.[1]?.toLowerCase();
}

/**
 * Creates the handler of the public keys of connections, as JWK sets (RFC 7517). It needs no credential, because apps fetch
 * them. A connection that does not exist looks like one without keys.
 */
export function createPublishedKeys({ connections, log }: PublishedKeysOptions) {
  return async (id: string, request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const record = currentRequest.getStore();
      if (record) record.operation = 'GET /.well-known/app-connections/:id/jwks.json';
      await connections.limits.checkUnauthenticated(record?.address);
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        throw new HttpError(405, 'BAD_USER_INPUT', 'The keys can only be read.', {
          headers: { allow: 'GET, HEAD' },
          remedy: 'Use GET.',
        });
      }
      await connections.scheduler.waitForTurn('');
      const body = JSON.stringify({ keys: await getPublishedKeys(connections, id) });
      const etag = `"${hash('sha256', body, 'base64url').slice(0, 22)}"`;
      response.setHeader('cache-control', `public, max-age=${maxAgeSeconds}`);
      response.setHeader('etag', etag);
      if (isKnown(request.headers['if-none-match'], etag)) {
        response.writeHead(304).end();
        return;
      }
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      response.writeHead(200, headers).end(request.method === 'HEAD' ? undefined : body);
    } catch (error) {
      const { status, headers, body } = describeProblem(error, log);
      response
        .writeHead(status, { 'content-type': 'application/problem+json', ...headers })
        .end(JSON.stringify(body));
    }
  };
}

/** Whether `If-None-Match` (RFC 9110, section 13.1.2) names the current version. */
function isKnown(header: string | undefined, etag: string): boolean {
  const tags = (header ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return tags.includes(etag) || tags.includes('*');
}
