import type { Authenticator } from '../access/authenticator.ts';
import type { RefusalParts } from '../audit/audited.ts';

/** What managing access takes. */
export interface AdministrationParts extends RefusalParts {
  authenticator: Authenticator;
}
