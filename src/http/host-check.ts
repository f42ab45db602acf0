/**
 * Whether the Host header names this machine or the configured `HOST`. The port is ignored, because a port forwarding may
 * change it.
 *
 * @param header the `Host` header
 */
export function isOwnHost(header: string | undefined, host: string): boolean {
  const name = header
    ?.toLowerCase()
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '');
  return name !== undefined && (name === host || isLoopback(name));
}

/** Whether a host (lower case, without brackets) is a loopback name or address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
