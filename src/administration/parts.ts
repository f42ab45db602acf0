import type { Authenticator } from '../access/authenticator.ts';
import type { AuditParts } from '../audit/chain.ts';

/** What managing access takes. */
export interface AdministrationParts extends AuditParts {
  authenticator: Authenticator;
}
