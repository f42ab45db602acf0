import type { RefusalRecorder } from '../audit/refusal-counter.ts';
import type { RateLimits } from '../rate-limits/rate-limits.ts';
import type { Authenticate, Authenticator } from './authenticator.ts';
import { withAudit } from './with-audit.ts';
import { withRateLimit } from './with-rate-limit.ts';

/** The authentication of requests, with audit events and rate limits. */
export interface Authentication {
  /**
   * Authenticates a request and counts it.
   *
   * @throws AppError `UNAUTHENTICATED`, `RATE_LIMITED`, `UPSTREAM_UNREACHABLE` (the keys of the identity provider)
   */
  authenticate: Authenticate;
  /**
   * Authenticates a use of a connection, which is counted apart: see `RateLimits.checkUse`.
   *
   * @throws AppError `UNAUTHENTICATED`, `RATE_LIMITED`, `UPSTREAM_UNREACHABLE`
   */
  authenticateUse: Authenticate;
  /**
   * Authenticates the credential of a request that is still open, such as a subscription. It is not counted, because the
   * server repeats it, not the client.
   *
   * @throws AppError `UNAUTHENTICATED`, `UPSTREAM_UNREACHABLE`
   */
  assertStillAuthenticated: Authenticate;
}

/** The dependencies of authentication. */
export interface AuthenticationDeps {
  authenticator: Pick<Authenticator, 'authenticate'>;
  /** Records rejected credentials only, so that other refusals do not use up the room for them. */
  refusals: RefusalRecorder;
  /** Undefined: requests are not counted. */
  limits: RateLimits | undefined;
}

/** Adds audit events and rate limits to an authenticator. Rate limits come first: a limited attempt is not audited. */
export function createAuthentication({
  authenticator,
  refusals,
  limits,
}: AuthenticationDeps): Authentication {
  const audited = withAudit(refusals, (authorization) => authenticator.authenticate(authorization));
  return {
    authenticate: limits ? withRateLimit(limits, audited, (caller) => limits.checkCaller(caller)) : audited,
    authenticateUse: limits ? withRateLimit(limits, audited, () => undefined) : audited,
    assertStillAuthenticated: audited,
  };
}
