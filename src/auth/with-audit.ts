import type { RefusalRecorder } from '../audit/refusal-counter.ts';
import { currentRequest } from '../common/log.ts';
import { unattributedOrgId } from '../identity/organisations.ts';
import { AuthenticationError } from './authentication-error.ts';
import type { Authenticator } from './authenticator.ts';

/**
 * Signs callers in, and leaves an event for what is refused: in the trail of the organisation whose credential it was,
 * or else in the one of nobody. The first of an API key, a subject of tokens or, if it is nobody's, an address has its
 * event at once; those after it are counted, and one event a window tells how many there were.
 *
 * @param refusals counts no other refusals, so that those do not take the room of these
 */
export function withAudit(
  refusals: RefusalRecorder,
  authenticator: Authenticator,
): Authenticator['authenticate'] {
  return async (authorization) => {
    try {
      return await authenticator.authenticate(authorization);
    } catch (error) {
      if (error instanceof AuthenticationError) {
        const { orgId = unattributedOrgId, keyId = null, subject = null } = error.claimedIdentity ?? {};
        const failure = { orgId, keyId, subject, action: 'SIGN_IN', outcome: error.code } as const;
        const address = currentRequest.getStore()?.address ?? 'unknown';
        await refusals.record(failure, error.claimedIdentity ? undefined : address);
      }
      throw error;
    }
  };
}
