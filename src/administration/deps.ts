import type { RefusalAuditDeps } from '../audit/record-refusals.ts';
import type { Authenticator } from '../auth/authenticator.ts';
import type { RateLimits } from '../rate-limits/rate-limits.ts';

/** The dependencies of administration. */
export interface AdministrationDeps extends RefusalAuditDeps {
  authenticator: Authenticator;
  limits: RateLimits;
}
