import type { IncomingMessage } from 'node:http';

/**
 * Whether a browser sends the request for a page of another origin, by its own account (`Sec-Fetch-Site`). Clients that
 * are no browsers say nothing, and neither do browsers that ask over HTTP for another machine.
 */
export function isCrossSite({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  return site !== undefined && site !== 'same-origin' && site !== 'none';
}

/** Whether somebody follows a link: a GET that fills a window, and not a frame, an image or a script. */
export function isNavigation({ method, headers }: IncomingMessage): boolean {
  return (
    (method === 'GET' || method === 'HEAD') &&
    headers['sec-fetch-mode'] === 'navigate' &&
    headers['sec-fetch-dest'] === 'document'
  );
}

/**
 * Whether a request comes from a page of this server, or from no page at all: neither `Sec-Fetch-Site` nor `Origin` says
 * otherwise. The `Host` header has to be known to be ours.
 */
export function isSameOrigin(request: IncomingMessage): boolean {
  const { host, origin } = request.headers;
  const protocol = 'encrypted' in request.socket ? 'https' : 'http';
  return !isCrossSite(request) && (origin === undefined || origin === `${protocol}://${host}`);
}
