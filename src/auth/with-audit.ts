import type { RefusalRecorder } from '../audit/refusal-counter.ts';
import { currentRequest } from '../common/log.ts';
import { unattributedOrgId } from '../identity/organisations.ts';
import { AuthenticationError } from './authentication-error.ts';
import type { Authenticate } from './authenticator.ts';

/**
 * Records rejected credentials: in the audit trail of the organisation that the credential belongs to, or in the trail for
 * unattributed events if the organisation is unknown. The first rejection of an API key, of a subject, or of an address if
 * the credential is unknown, is recorded at once. Further ones are counted, and recorded as one event per window.
 */
export function withAudit(refusals: RefusalRecorder, authenticate: Authenticate): Authenticate {
  return async (authorization) => {
    try {
      return await authenticate(authorization);
    } catch (error) {
      if (error instanceof AuthenticationError) {
        const { claimedIdentity } = error;
        const {
          orgId = unattributedOrgId,
          keyId = null,
          subject = null,
          setupLinkId,
        } = claimedIdentity ?? {};
        const actor = { orgId, keyId, subject, setupLinkId };
        const failure = { ...actor, action: 'SIGN_IN', outcome: error.code } as const;
        const address = currentRequest.getStore()?.address ?? 'unknown';
        await refusals.record(failure, claimedIdentity ? undefined : address);
      }
      throw error;
    }
  };
}
