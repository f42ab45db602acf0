import { hash } from 'node:crypto';
import { currentRequest } from '../common/log.ts';
import type { RateLimits } from '../rate-limits/rate-limits.ts';
import { AuthenticationError } from './authentication-error.ts';
import type { Authenticate } from './authenticator.ts';

const maxKnownCredentials = 10_000;

/**
 * Counts requests: for the client address until the caller is known, then for the caller. A credential that this server has
 * accepted before is not counted for the address. So neither other clients behind the same address nor rejected credentials
 * can lock out a caller with a valid one.
 */
export function withRateLimit(limits: RateLimits, authenticate: Authenticate): Authenticate {
  /** Hashes of accepted credentials, oldest first. */
  const accepted = new Set<string>();
  return async (authorization) => {
    const address = currentRequest.getStore()?.address;
    const digest = hash('sha256', authorization ?? '', 'base64');
    if (!accepted.has(digest)) await limits.checkUnauthenticated(address);
    try {
      const caller = await authenticate(authorization);
      accepted.add(digest);
      const [oldest] = accepted.size > maxKnownCredentials ? accepted : [];
      if (oldest !== undefined) accepted.delete(oldest);
      await limits.checkCaller(caller);
      return caller;
    } catch (error) {
      if (error instanceof AuthenticationError) {
        accepted.delete(digest);
        await limits.checkFailedAuthentication(address);
      }
      throw error;
    }
  };
}
