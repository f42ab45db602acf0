import type { IncomingMessage } from 'node:http';
import { isLoopbackHost } from '../common/loopback.ts';
import { type AddressRange, isFromTrustedProxy } from './client-ip.ts';

/** The settings that decide how clients address the server. */
export interface PublicOriginOptions {
  production: boolean;
  trustedProxies: readonly AddressRange[];
}

/**
 * The origin at which the client addresses the server: from `X-Forwarded-Proto` and `X-Forwarded-Host` of a trusted proxy,
 * else from the connection and `Host`. In production without TLS, a proxy terminates TLS, except on this machine.
 */
export function publicOrigin(
  request: IncomingMessage,
  { production, trustedProxies }: PublicOriginOptions,
): string {
  const isForwarded = isFromTrustedProxy(request, trustedProxies);
  const forwarded = (name: string) =>
    isForwarded ? [request.headers[name] ?? ''].flat().join(',').split(',').at(-1)?.trim() : undefined;
  const { host = 'localhost' } = request.headers;
  const isTls = 'encrypted' in request.socket || (production && !isLoopbackHost(host.replace(/:\d+$/, '')));
  const protocol = /^https?$/.exec(forwarded('x-forwarded-proto') ?? '')?.[0] ?? (isTls ? 'https' : 'http');
  const publicHost = /^[\w.:[\]-]+$/.exec(forwarded('x-forwarded-host') ?? '')?.[0] ?? host;
  return `${protocol}://${publicHost}`;
}
