/**
 * Formats the `host:port` of a URL, with the default port of the scheme if the URL has none. It is not in address.ts, because
 * the dashboard bundles this function and address.ts needs Node.
 */
export function hostPort({ protocol, hostname, port }: Pick<URL, 'protocol' | 'hostname' | 'port'>): string {
  return `${hostname}:${port || (protocol === 'https:' ? '443' : '80')}`;
}
