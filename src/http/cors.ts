import type { IncomingMessage, ServerResponse } from 'node:http';

const ownHeaders = 'Accept, Authorization, Content-Type, Idempotency-Key';
const exposedHeaders = 'Link, Retry-After, X-Request-Id';
/** In seconds; the maximum that Chromium accepts. */
const maxAge = '7200';

/** Cross-origin resource sharing: which origins can read responses. */
export interface Cors {
  /** Whether the request comes from a page of an allowed origin. */
  isAllowed(request: IncomingMessage): boolean;
  /** Sets the headers with which a page of an allowed origin can read the response. */
  setHeaders(request: IncomingMessage, response: ServerResponse): void;
  /**
   * Responds to a preflight request from an allowed origin.
   *
   * @param methods the methods of the route
   * @returns false for any other request, which gets no response here
   */
  handlePreflight(request: IncomingMessage, response: ServerResponse, methods: readonly string[]): boolean;
}

/**
 * Creates the CORS policy. It does not allow credentials, because the API uses no cookies.
 *
 * @param origins the allowed origins as browsers send them, such as `https://app.example`
 */
export function createCors(origins: ReadonlySet<string>): Cors {
  const isAllowed = ({ headers: { origin } }: IncomingMessage) => origin !== undefined && origins.has(origin);
  return {
    isAllowed,
    setHeaders(request, response) {
      if (origins.size > 0) response.setHeader('vary', 'Origin');
      if (!isAllowed(request)) return;
      response.setHeader('access-control-allow-origin', `${request.headers.origin}`);
      response.setHeader('access-control-expose-headers', exposedHeaders);
    },
    handlePreflight(request, response, methods) {
      const isPreflight =
        request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined;
      if (!isPreflight || !isAllowed(request)) return false;
      response
        .writeHead(204, {
          'access-control-allow-methods': methods.join(', '),
          // The response depends on both headers, so that a cache must store one for each combination.
          vary: 'Origin, Access-Control-Request-Headers',
          'access-control-allow-headers': allowedHeaders(request),
          'access-control-max-age': maxAge,
        })
        .end();
      return true;
    },
  };
}

/**
 * Allows all requested headers: only Authorization grants access, and a fixed list would have to follow the headers of
 * tracing and telemetry (`traceparent`, `sentry-trace`, `x-datadog-…`).
 */
function allowedHeaders({ headers }: IncomingMessage): string {
  const requested = headers['access-control-request-headers'] ?? '';
  return headerListPattern.test(requested) ? `${ownHeaders}, ${requested}` : ownHeaders;
}

/** Header names (RFC 9110), separated by commas. */
const headerListPattern = /^[\w!#$%&'*+.^`|~-]+( *, *[\w!#$%&'*+.^`|~-]+)*$/;
