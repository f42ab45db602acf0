import type { IncomingMessage } from 'node:http';

/**
 * Whether a browser sends the request for a page of another origin, according to `Sec-Fetch-Site`. Other clients do not
 * send this header, and browsers do not send it over HTTP to another machine.
 */
export function isCrossSite({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  return site !== undefined && site !== 'same-origin' && site !== 'none';
}

/** Whether the request is a top-level navigation, such as a followed link; not for a frame, an image or a script. */
export function isNavigation({ method, headers }: IncomingMessage): boolean {
  return (
    (method === 'GET' || method === 'HEAD') &&
    headers['sec-fetch-mode'] === 'navigate' &&
    headers['sec-fetch-dest'] === 'document'
  );
}

/**
 * Whether neither `Sec-Fetch-Site` nor `Origin` names another origin: the request comes from a page of this server or
 * from a client that is not a browser. Requires that the `Host` header was checked before.
 */
export function isSameOrigin(request: IncomingMessage): boolean {
  const { host, origin } = request.headers;
  const protocol = 'encrypted' in request.socket ? 'https' : 'http';
  return !isCrossSite(request) && (origin === undefined || origin === `${protocol}://${host}`);
}
