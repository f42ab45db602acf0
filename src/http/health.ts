import type { IncomingMessage, ServerResponse } from 'node:http';
import { sendText } from './http-server.ts';

/**
 * Answers `/health/live` and `/health/ready`, which load balancers ask without a credential.
 *
 * @param isReady costs the database nothing, however often it is called
 */
export async function handleHealthCheck(
  request: IncomingMessage,
  response: ServerResponse,
  isReady: () => Promise<boolean>,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    sendText(response, 405, 'Health is asked for with GET.');
  } else if (request.url?.startsWith('/health/live')) {
    sendText(response, 200, 'live');
  } else if (await isReady()) {
    sendText(response, 200, 'ready');
  } else {
    sendText(response, 503, 'not ready');
  }
}
