import type { IncomingMessage, ServerResponse } from 'node:http';

const ownHeaders = 'Accept, Authorization, Content-Type, Idempotency-Key';
const exposedHeaders = 'Link, Retry-After, X-Request-Id';
/** As long as browsers keep to at most, in seconds. */
const maxAge = '7200';

/** What pages of other origins may do; of all others, browsers keep every answer to themselves. */
export interface Cors {
  /** Whether the request comes from a page of one of those origins. */
  isAllowed(request: IncomingMessage): boolean;
  /** Lets the page that asks read the answer, whatever it will be, if its origin is one of those. */
  setHeaders(request: IncomingMessage, response: ServerResponse): void;
  /**
   * Answers a browser that asks whether such a page may send a request.
   *
   * @param methods those that there are at this address
   * @returns false when it is no such question, or not from such a page
   */
  handlePreflight(request: IncomingMessage, response: ServerResponse, methods: readonly string[]): boolean;
}

/**
 * Nothing here has to do with cookies or other credentials that browsers add by themselves: there are none, so a page
 * elsewhere has nothing to misuse.
 *
 * @param origins as browsers send them, `https://app.example`
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
          // What it says depends on what is asked, which a cache between must not overlook.
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
 * Whichever headers a page asks for: no header but Authorization lets anybody do anything here, and what browsers send
 * for tracing and telemetry (`traceparent`, `sentry-trace`, `x-datadog-…`) is more than a list could keep up with.
 */
function allowedHeaders({ headers }: IncomingMessage): string {
  const asked = headers['access-control-request-headers'] ?? '';
  return isHeaderList.test(asked) ? `${ownHeaders}, ${asked}` : ownHeaders;
}

/** Names as RFC 9110 has them, with commas between. */
const isHeaderList = /^[\w!#$%&'*+.^`|~-]+( *, *[\w!#$%&'*+.^`|~-]+)*$/;
