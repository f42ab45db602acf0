/**
 * Whether a request is to this machine, or to the name that the server listens on: only the name counts, because the
 * port may be another behind a forwarder.
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

/** Whether a name or address, in lower case and without brackets, is this machine's own. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
