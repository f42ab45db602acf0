import { AppError } from '../../common/errors.ts';
import type { StreamedResponse } from '../../outbound/streamed-response.ts';
import { splitConnection } from './request-headers.ts';
import type { SecretMask } from './secret-mask.ts';

/**
 * Headers of an app that do not reach the caller: those of the connection, cookies and credentials, and those with which the
 * app would decide for browsers, reverse proxies and caches how to treat this server instead of itself.
 */
const appHeaders: ReadonlySet<string> = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'via'],
  ...['set-cookie', 'set-cookie2', 'www-authenticate', 'authentication-info', 'dpop-nonce'],
  ...['alt-svc', 'clear-site-data', 'nel', 'report-to', 'reporting-endpoints', 'refresh', 'server'],
  ...['expect-ct', 'public-key-pins', 'service-worker-allowed', 'strict-transport-security', 'x-request-id'],
  ...['cache-control', 'pragma', 'expires', 'vary', 'permissions-policy', 'referrer-policy'],
  ...['x-content-type-options', 'x-frame-options', 'x-xss-protection', 'timing-allow-origin', 'origin-trial'],
  ...['x-sendfile', 'x-reproxy-url', 'cdn-cache-control', 'sourcemap', 'x-sourcemap'],
]);

const appPrefixes = [
  ...['access-control-', 'content-security-policy', 'cross-origin-', 'proxy-'],
  // With these, nginx, lighttpd and caches send files and paths of their own, or store the response.
  ...['x-accel-', 'x-lighttpd-', 'x-litespeed-', 'surrogate-'],
];

/**
 * The most URLs in the headers of a response. Okta sends up to three. 16 kB of headers have room for thousands, and a reference such as
 * `<>` becomes the whole URL of the request.
 */
const maxUrls = 32;

/** A header that may be repeated; its name is in lower case. */
export type Header = readonly [name: string, value: string | readonly string[]];

/** Selects the headers of an app's response that reach the caller, and removes secrets from them. */
export function toCallerHeaders(headers: StreamedResponse['headers'], mask: SecretMask): Header[] {
  const dropped = splitConnection(headers.connection);
  const passed: Header[] = [];
  for (const name of Object.keys(headers)) {
    const value = headers[name] ?? '';
    const isDropped =
      appHeaders.has(name) ||
      dropped.includes(name) ||
      appPrefixes.some((prefix) => name.startsWith(prefix)) ||
      mask.appearsIn(name);
    if (isDropped) continue;
    const masked =
      typeof value === 'string' ? mask.maskText(value) : value.map((each) => mask.maskText(each));
    passed.push([name, masked]);
  }
  return passed;
}

/**
 * Replaces the URLs of an app's instance in `Link`, `Location` and `Content-Location`, so that clients follow them through
 * this server. Other URLs stay as they are.
 *
 * @param app the name of the app
 * @param getRequestUrl returns where the request was sent; called if there is a URL
 * @param getPrefix returns what replaces the origin of the instance; called if there is a URL
 * @throws AppError `UPSTREAM_INVALID_RESPONSE` if there are too many URLs
 */
export function withCallerUrls(
  headers: readonly Header[],
  getRequestUrl: () => URL,
  getPrefix: () => string,
  app: string,
): Header[] {
  let urls = 0;
  const rewrite = (url: string) => {
    urls += 1;
    if (urls > maxUrls) throw tooManyUrls(app);
    const request = getRequestUrl();
    const target = URL.parse(url, request);
    // The origin of a `blob:` URL is that of the URL in it.
    if (target?.origin !== request.origin || target.protocol !== request.protocol) return url;
    return `${getPrefix()}${target.pathname}${target.search}${target.hash}`;
  };
  const rewriteLinks = (link: string) => link.replace(/<([^<>]*)>/g, (_, url: string) => `<${rewrite(url)}>`);
  return headers.map(([name, value]): Header => {
    const change = name === 'link' ? rewriteLinks : locations.has(name) ? rewrite : undefined;
    if (!change) return [name, value];
    return [name, typeof value === 'string' ? change(value) : value.map(change)];
  });
}

const locations: ReadonlySet<string> = new Set(['location', 'content-location']);

function tooManyUrls(app: string): AppError {
  return new AppError(
    'UPSTREAM_INVALID_RESPONSE',
    `The response of ${app} cannot be used: its headers have more than ${maxUrls} links.`,
    {
      remedy: `Find out whether the request had an effect before you send it again, and tell ${app}'s support.`,
    },
  );
}
