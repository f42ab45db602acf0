import { isLoopbackHost } from '../common/loopback.ts';

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
  return name !== undefined && (name === host || isLoopbackHost(name));
}
