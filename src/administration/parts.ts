import type { Authenticator } from '../access/authenticator.ts';
import type { RefusalParts } from '../audit/audited.ts';
import type { RateLimits } from '../limits/rate-limits.ts';

/** What managing access takes. */
export interface AdministrationParts extends RefusalParts {
  authenticator: Authenticator;
  limits: RateLimits;
}
