import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestLogContext } from '../common/log.ts';
import type { Span, Tracer } from '../common/tracing.ts';

/** The methods that the semantic conventions of OpenTelemetry name. Others could be any text. */
const namedMethods: ReadonlySet<string> = new Set([
  ...['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE'],
]);

const probe = /\/health\/(live|ready)$/;

/** Starts the span of a request; undefined for health checks, which would be most of the spans. */
export function startRequestSpan(tracer: Tracer, request: IncomingMessage): Span | undefined {
  const { method = '', url = '', headers } = request;
  if (probe.test(url.split('?', 1)[0] ?? '')) return undefined;
  const isNamed = namedMethods.has(method);
  return tracer.startRoot(
    {
      name: isNamed ? method : 'HTTP',
      kind: 'server',
      attributes: { 'http.request.method': isNamed ? method : '_OTHER' },
    },
    headers,
  );
}

/**
 * Ends the span of a request.
 *
 * @param outcome `OK`, an error code, `ABORTED` or `HTTP_404`
 */
export function endRequestSpan(
  span: Span,
  { route }: Pick<RequestLogContext, 'route'>,
  { req, statusCode }: ServerResponse,
  outcome: string,
): void {
  if (route) span.rename(`${namedMethods.has(req.method ?? '') ? req.method : 'HTTP'} ${route}`);
  span.set({
    ...(route && { 'http.route': route }),
    'http.response.status_code': statusCode,
    'app_connections.outcome': outcome,
  });
  span.end(statusCode >= 500 || outcome === 'INTERNAL_SERVER_ERROR' ? outcome : undefined);
}
