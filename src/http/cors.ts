import type { IncomingMessage, ServerResponse } from 'node:http';

const allowedHeaders = 'Accept, Authorization, Content-Type, Idempotency-Key';
const exposedHeaders = 'Link, Retry-After, X-Request-Id';
/** As long as browsers keep to at most, in seconds. */
const maxAge = '7200';

/** What pages of other origins may do; of all others, browsers keep every answer to themselves. */
export interface Cors {
  /** Lets the page that asks read the answer, whatever it will be, if its origin is one of those. */
  allow(request: IncomingMessage, response: ServerResponse): void;
  /**
   * Answers a browser that asks whether such a page may send a request.
   *
   * @param methods those that there are at this address
   * @returns false when it is no such question, or not from such a page
   */
  answerPreflight(request: IncomingMessage, response: ServerResponse, methods: readonly string[]): boolean;
}

/**
 * Nothing here has to do with cookies or other credentials that browsers add by themselves: there are none, so a page
 * elsewhere has nothing to misuse, and what it sends is answered like anybody's.
 *
 * @param origins as browsers send them, `https://app.example`
 */
export function createCors(origins: ReadonlySet<string>): Cors {
  const isAllowed = ({ headers: { origin } }: IncomingMessage) => origin !== undefined && origins.has(origin);
  return {
    allow(request, response) {
      if (origins.size > 0) response.setHeader('vary', 'Origin');
      if (!isAllowed(request)) return;
      response.setHeader('access-control-allow-origin', `${request.headers.origin}`);
      response.setHeader('access-control-expose-headers', exposedHeaders);
    },
    answerPreflight(request, response, methods) {
      const isPreflight =
        request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined;
      if (!isPreflight || !isAllowed(request)) return false;
      response
        .writeHead(204, {
          'access-control-allow-methods': methods.join(', '),
          'access-control-allow-headers': allowedHeaders,
          'access-control-max-age': maxAge,
        })
        .end();
      return true;
    },
  };
}
