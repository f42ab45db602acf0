import type { IncomingMessage, ServerResponse } from 'node:http';
import { reply } from './http-server.ts';

/**
 * Answers `/health/live` and `/health/ready`, which load balancers ask without a credential.
 *
 * @param isReady costs the database nothing, however often it is called
 */
export async function answerHealth(
  request: IncomingMessage,
  response: ServerResponse,
  isReady: () => Promise<boolean>,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    reply(response, 405, 'Health is asked for with GET.');
  } else if (request.url?.startsWith('/health/live')) {
    reply(response, 200, 'live');
  } else if (await isReady()) {
    reply(response, 200, 'ready');
  } else {
    reply(response, 503, 'not ready');
  }
}
