/** The `host:port` of a URL, lower case, with the port also where the URL leaves it to the scheme. */
export function hostPort({ protocol, hostname, port }: Pick<URL, 'protocol' | 'hostname' | 'port'>): string {
  return `${hostname}:${port || (protocol === 'https:' ? '443' : '80')}`;
}
