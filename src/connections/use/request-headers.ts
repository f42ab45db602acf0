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
  const pairs = raw.flatMap((name, index) =>
    index % 2 === 0 ? [[name, raw[index + 1] ?? ''] as const] : [],
  );
  const dropped = new Set([...namesInConnection(pairs), ...Object.keys(credentials)]);
  const isPassedOn = (name: string) =>
    !ownHeaders.has(name) &&
    !dropped.has(name) &&
    !ownPrefixes.some((prefix) => name.startsWith(prefix)) &&
    (hasBody || name !== 'content-length');
  // Many servers do not distinguish underscores from hyphens in names of headers.
  const passed = pairs.filter(([name]) => isPassedOn(name.toLowerCase().replaceAll('_', '-')));
  const hasUserAgent = passed.some(([name]) => name.toLowerCase() === 'user-agent');
  return [
    ...passed,
    ...(hasUserAgent ? [] : [['user-agent', 'app-connections'] as const]),
    ['accept-encoding', 'identity'] as const,
    ...Object.entries(credentials),
  ].flat();
}

/** The names that `Connection` declares to be for the next hop only. */
export function namesInConnection(pairs: Iterable<readonly [string, string | readonly string[]]>): string[] {
  const values = [...pairs].filter(([name]) => name.toLowerCase() === 'connection').map(([, value]) => value);
  return values
    .flat()
    .join(',')
    .split(',')
    .map((name) => name.trim().toLowerCase());
}
