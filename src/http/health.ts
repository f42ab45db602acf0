import type { IncomingMessage, ServerResponse } from 'node:http';
import { currentRequest } from '../common/log.ts';
import { sendText } from './http-server.ts';

/**
 * Responds to `/health/live` and `/health/ready`, which need no credential.
 *
 * @param isReady has to limit its own queries, because it is called for each request
 */
export async function handleHealthCheck(
  request: IncomingMessage,
  response: ServerResponse,
  isReady: () => Promise<boolean>,
): Promise<void> {
  const record = currentRequest.getStore();
  if (record) record.isProbe = true;
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    sendText(response, 405, 'Use GET.');
  } else if (request.url?.startsWith('/health/live')) {
    sendText(response, 200, 'live');
  } else if (await isReady()) {
    sendText(response, 200, 'ready');
  } else {
    sendText(response, 503, 'not ready');
  }
}
