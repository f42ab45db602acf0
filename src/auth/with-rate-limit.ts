import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { currentRequest } from '../common/log.ts';
import type { Caller } from '../identity/caller.ts';
import type { RateLimits } from '../rate-limits/rate-limits.ts';
import { AuthenticationError } from './authentication-error.ts';
import type { Authenticate } from './authenticator.ts';

const maxKnownCredentials = 10_000;

/**
 * Counts requests: for the client address until the caller is known, then for the caller. A credential that this server has
 * accepted before is not counted for the address. So neither other clients behind the same address nor rejected credentials
 * can lock out a caller with a valid one.
 *
 * @param checkCaller counts a request of a known caller
 */
export function withRateLimit(
  limits: RateLimits,
  authenticate: Authenticate,
  checkCaller: (caller: Caller) => Promise<void> | undefined,
): Authenticate {
  /** Hashes of accepted credentials. */
  const accepted = new LRUCache<string, true>({ max: maxKnownCredentials });
  return async (authorization) => {
    const address = currentRequest.getStore()?.address;
    const digest = hash('sha256', authorization ?? '', 'base64');
    const isAccepted = accepted.get(digest);
    if (!isAccepted) await limits.checkUnauthenticated(address);
    try {
      const caller = await authenticate(authorization);
      if (!isAccepted) accepted.set(digest, true);
      await checkCaller(caller);
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
