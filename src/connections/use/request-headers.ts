/**
 * Headers of a caller that do not reach the app: credentials, headers of the connection and of proxies, what a browser says
 * about our own site, and headers with which some servers replace the method or the path after the use policy was
 * applied to them.
 */
const ownHeaders: ReadonlySet<string> = new Set([
  ...['authorization', 'cookie', 'dpop', 'proxy-authorization', 'proxy-connection'],
  ...['connection', 'expect', 'host', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
  ...['http2-settings', 'forwarded', 'via', 'x-real-ip', 'x-client-ip', 'true-client-ip', 'cf-connecting-ip'],
  ...['origin', 'referer', 'access-control-request-headers', 'access-control-request-method'],
  ...['x-http-method', 'x-http-method-override', 'x-method-override', 'x-original-url', 'x-rewrite-url'],
  // The response has to be readable and whole, so that the credentials can be removed from it.
  ...['accept-encoding', 'range', 'if-range'],
  // Other organisations could link requests by the caller's trace (docs/operations/traces.md).
  ...['traceparent', 'tracestate', 'baggage'],
  // For this server.
  'x-app-connections-consumer',
]);

const ownPrefixes = ['x-forwarded-', 'sec-', 'proxy-'];

/**
 * Selects the headers of a caller that reach the app, and adds those of this server.
 *
 * @param raw names and values in turn, as they arrived
 * @param credentials the headers that authenticate to the app
 */
export function toAppHeaders(
  raw: readonly string[],
  credentials: Readonly<Record<string, string>>,
  hasBody: boolean,
): string[] {
  const dropped = new Set(Object.keys(credentials));
  for (let index = 0; index < raw.length; index += 2) {
    if (raw[index]?.toLowerCase() !== 'connection') continue;
    for (const name of splitConnection(raw[index + 1])) dropped.add(toHyphens(name));
  }
  const passed: string[] = [];
  let hasUserAgent = false;
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const normal = toHyphens(name.toLowerCase());
    const isPassedOn =
      !ownHeaders.has(normal) &&
      !dropped.has(normal) &&
      !ownPrefixes.some((prefix) => normal.startsWith(prefix)) &&
      // Another spelling could state another length than the body has.
      (normal !== 'content-length' || (hasBody && !name.includes('_')));
    if (!isPassedOn) continue;
    hasUserAgent ||= normal === 'user-agent';
    passed.push(name, raw[index + 1] ?? '');
  }
  if (!hasUserAgent) passed.push('user-agent', 'app-connections');
  passed.push('accept-encoding', 'identity');
  for (const name of Object.keys(credentials)) passed.push(name, credentials[name] ?? '');
  return passed;
}

/** Many servers do not distinguish underscores from hyphens in names of headers. */
function toHyphens(name: string): string {
  return name.replaceAll('_', '-');
}

/** The names in a header `Connection`, which are for the next hop only. */
export function splitConnection(value: string | readonly string[] = []): string[] {
  const values = typeof value === 'string' ? [value] : value;
  return values.flatMap((each) => each.split(',').map((name) => name.trim().toLowerCase()));
}
