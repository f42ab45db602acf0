import { timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { errorField } from '../common/error-field.ts';
import { StartupError } from '../common/errors.ts';
import type { Secret } from '../common/secret.ts';
import { serverUrl } from '../http/server-url.ts';
import { httpTimeouts } from '../http/timeouts.ts';
import type { Metrics } from './metrics.ts';

/** Where the metrics are served. */
export interface MetricsEndpoint {
  host: string;
  port: number;
  /** The bearer token that scrapers send. Absent: none is needed. */
  token: Secret | undefined;
}

/** A listening server for metrics. */
export interface MetricsServer {
  url: string;
  close(): Promise<void>;
}

/**
 * Serves `GET /metrics` on a port of its own, which is not for callers.
 *
 * @throws StartupError if it cannot listen on the port
 */
export async function startMetricsServer(
  { host, port, token }: MetricsEndpoint,
  metrics: Metrics,
): Promise<MetricsServer> {
  const server = createServer(httpTimeouts, (request, response) => {
    const answer = (status: number, text: string, type = 'text/plain; charset=utf-8') =>
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(text);
    if (request.url?.split('?', 1)[0] !== '/metrics')
      return void answer(404, 'The metrics are at /metrics.\n');
    if (request.method !== 'GET' && request.method !== 'HEAD') return void answer(405, 'Use GET.\n');
    if (token && !isEqual(request.headers.authorization ?? '', `Bearer ${token.reveal()}`)) {
      response.setHeader('www-authenticate', 'Bearer');
      return void answer(401, 'Send the value of METRICS_TOKEN as a bearer token.\n');
    }
    metrics.read().then(
      ({ type, text }) => answer(200, text, type),
      () => answer(500, 'The metrics could not be read.\n'),
    );
  });
  server.listen(port, host);
  await once(server, 'listening').catch((error: unknown) => {
    const reason = errorField(error, 'code') ?? 'unknown error';
    throw new StartupError(`METRICS_PORT ${port}: cannot listen on ${host} (${reason})`);
  });
  return {
    url: `${serverUrl(server, 'http', host)}/metrics`,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
      metrics.stop();
    },
  };
}

function isEqual(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}
