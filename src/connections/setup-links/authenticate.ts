import { findHead } from '../../audit/trail-head.ts';
import { digestCredential, isCompleteCredential } from '../../auth/api-keys.ts';
import { AuthenticationError, assertOrganisationEnabled } from '../../auth/authentication-error.ts';
import type { Authenticate } from '../../auth/authenticator.ts';
import { Secret } from '../../common/secret.ts';
import { Caller } from '../../identity/caller.ts';
import type { ConnectionDeps } from '../deps.ts';
import { SetupLink } from '../setup-link.entity.ts';
import { getSetupLinkStatus, type SetupLinkStatus, withRevokedKeys } from './setup-link.ts';

/** The prefix of the secret of a setup link. Secret scanners can search for it and 49 letters and digits. */
export const setupLinkPrefix = 'acs_';

const remedy = 'Ask the person who sent you the link for a new one.';

const refusals: Readonly<Record<Exclude<SetupLinkStatus, 'ACTIVE'>, string>> = {
  FINISHED: 'This setup link was used already.',
  REVOKED: 'This setup link was revoked.',
  EXPIRED: 'This setup link has expired.',
};

const noSuchLink = () =>
  new AuthenticationError('There is no such setup link. It may have been deleted.', { remedy });

/** @throws AuthenticationError if the link is used up, revoked or expired */
export function assertSetupLinkActive(link: SetupLink): void {
  const status = getSetupLinkStatus(link);
  if (status === 'ACTIVE') return;
  const { id: setupLinkId, orgId } = link;
  throw new AuthenticationError(refusals[status], { claimedIdentity: { orgId, setupLinkId }, remedy });
}

/**
 * Creates the authentication of setup links: the secret of a link is the bearer credential of a request. The caller is limited
 * to the connection of the link. No other part of the API accepts this credential.
 */
export function createSetupLinkAuthenticator({
  database,
  vault,
}: Pick<ConnectionDeps, 'database' | 'vault'>): {
  authenticate: Authenticate;
} {
  return {
    authenticate: async (authorization) => {
      const [, text] = /^Bearer +(\S{1,200})$/i.exec(authorization ?? '') ?? [];
      if (text === undefined) {
        throw new AuthenticationError('The request has no setup link.', {
          remedy: 'Send the header "Authorization: Bearer <secret of the setup link>".',
        });
      }
      const secret = new Secret(text);
      if (!isCompleteCredential(secret, setupLinkPrefix)) {
        throw new AuthenticationError('The setup link is incomplete or mistyped.', {
          remedy: 'Copy the whole address again, with everything after the “#”.',
        });
      }
      // Unknown links share one slot in the queue for connections, so that guessing them delays no caller.
      const em = database.asSystemForUnauthenticated();
      const link = await em.findOne(SetupLink, { hash: digestCredential(secret) });
      const macs = await vault.rowMacs(em);
      if (!link || !macs.isAuthentic(em, SetupLink, link)) {
        throw noSuchLink();
      }
      const [current = link] = await withRevokedKeys(em, macs, [link]);
      assertSetupLinkActive(current);
      const { orgId, id: setupLinkId } = link;
      const head = await findHead(em, vault, orgId);
      if (!head) throw noSuchLink();
      assertOrganisationEnabled(head, { orgId, setupLinkId });
      return new Caller({
        orgId,
        keyId: null,
        subject: null,
        setupLinkId,
        scopes: ['connections:read', 'connections:write', 'connections:verify'],
        projectIds: null,
        connectionIds: [link.connectionId],
        expiresAt: link.expiresAt,
      });
    },
  };
}
