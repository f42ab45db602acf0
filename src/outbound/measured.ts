import { timed } from '../common/log.ts';
import { upstreamMeasurements } from '../common/measurements.ts';
import { type Span, type SpanDescription, traced } from '../common/tracing.ts';
import { OutboundError } from './outbound-error.ts';

/**
 * Sends a request as a span, and measures the time until its response, or the headers of one that is streamed.
 *
 * @param path may have a query, which is ignored
 */
export function measured<Response extends { status: number }>(
  method: string,
  url: URL,
  path: string,
  send: () => Promise<Response>,
): Promise<Response> {
  return traced(
    () => describeRequest(method, url, path),
    (span) => publishing(send, span),
  );
}

function describeRequest(method: string, { hostname, port, protocol }: URL, path: string): SpanDescription {
  return {
    name: method,
    kind: 'client',
    attributes: {
      'http.request.method': method,
      'server.address': hostname,
      'server.port': Number(port || (protocol === 'https:' ? 443 : 80)),
    },
    path: path.split('?', 1)[0] ?? '',
  };
}

async function publishing<Response extends { status: number }>(
  send: () => Promise<Response>,
  span: Span | undefined,
): Promise<Response> {
  const startedAt = performance.now();
  const publish = (outcome: string) => {
    if (!upstreamMeasurements.hasSubscribers) return;
    upstreamMeasurements.publish({ outcome, ms: performance.now() - startedAt });
  };
  try {
    const response = await timed('upstream', send);
    publish(`${Math.floor(response.status / 100)}xx`);
    span?.set({ 'http.response.status_code': response.status });
    return response;
  } catch (error) {
    publish(error instanceof OutboundError ? error.reason : 'UNKNOWN');
    throw error;
  }
}
