import { hash } from 'node:crypto';
import { currentRequest } from '../common/log.ts';
import type { RateLimits } from '../rate-limits/rate-limits.ts';
import { AuthenticationError } from './authentication-error.ts';
import type { Authenticator } from './authenticator.ts';

const maxKnown = 10_000;

/**
 * Signs callers in, and counts: requests for the caller, and before it is known who that is, for the address. A
 * credential that this server has let in before is not counted for the address, so that nobody is kept out by neighbours
 * behind the same address; and nobody is kept out by credentials of others that are refused.
 */
export function withRateLimit(
  limits: RateLimits,
  authenticate: Authenticator['authenticate'],
): Authenticator['authenticate'] {
  /** Hashes of credentials that were good, those that came first at the start. */
  const known = new Set<string>();
  return async (authorization) => {
    const address = currentRequest.getStore()?.address;
    const name = hash('sha256', authorization ?? '', 'base64');
    if (!known.has(name)) await limits.checkUnauthenticated(address);
    try {
      const caller = await authenticate(authorization);
      known.add(name);
      const [oldest] = known.size > maxKnown ? known : [];
      if (oldest !== undefined) known.delete(oldest);
      await limits.checkCaller(caller);
      return caller;
    } catch (error) {
      if (error instanceof AuthenticationError) {
        known.delete(name);
        await limits.checkFailedAuthentication(address);
      }
      throw error;
    }
  };
}
