import { withRequestContext } from '../../audit/hash-chain.ts';
import { AuthenticationError } from '../../auth/authentication-error.ts';
import { currentTime } from '../../common/clock.ts';
import type { Caller } from '../../identity/caller.ts';
import type { ConnectionDeps } from '../deps.ts';
import type { PrepareAlongside } from '../persistence/change-connection.ts';
import { SetupLink } from '../setup-link.entity.ts';
import { assertSetupLinkActive } from './authenticate.ts';
import { updateSetupLink, withRevokedKeys } from './setup-link.ts';

/** The id of the setup link of a caller. */
function requireSetupLinkId({ setupLinkId }: Caller): string {
  if (setupLinkId !== null) return setupLinkId;
  throw new TypeError('The caller has no setup link.');
}

/** The id of the connection of a setup link. */
export function requireConnectionId({ connectionIds }: Caller): string {
  const [id] = connectionIds ?? [];
  if (id !== undefined) return id;
  throw new TypeError('The caller has no connection.');
}

/**
 * Returns what uses up the setup link of a caller, in the statement that stores its result. So of two people with the same link one
 * is first, and nothing is stored for a link that was revoked meanwhile.
 *
 * @returns a function that throws AuthenticationError if the link is no longer active
 */
export function finishSetupLink(deps: ConnectionDeps, caller: Caller): PrepareAlongside {
  return async (em, { id: connectionId, name: connectionName, projectId }) => {
    const link = await findOwnSetupLink(em, deps, caller);
    const { update } = await updateSetupLink(em, deps.vault, link, { finishedAt: currentTime() });
    const event = withRequestContext({
      ...caller.actor,
      ...{ action: 'FINISH_SETUP_LINK', connectionId, connectionName, projectId },
      outcome: 'OK',
      fields: ['finishedAt'],
    });
    return { events: [event], updates: [update] };
  };
}

/**
 * Returns what lets a step be stored only while the setup link of a caller is active.
 *
 * @returns a function that throws AuthenticationError if the link is no longer active
 */
export function requireActiveSetupLink(deps: ConnectionDeps, caller: Caller): PrepareAlongside {
  return async (em) => {
    await findOwnSetupLink(em, deps, caller);
    return { events: [] };
  };
}

/**
 * Finds the setup link of a caller again, to change it.
 *
 * @throws AuthenticationError if it was deleted, used, revoked or has expired since the caller was authenticated
 */
export async function findOwnSetupLink(
  em: Parameters<PrepareAlongside>[0],
  { vault }: Pick<ConnectionDeps, 'vault'>,
  caller: Caller,
): Promise<SetupLink> {
  const where = { id: requireSetupLinkId(caller), orgId: caller.orgId };
  const link = await em.findOne(SetupLink, where, { refresh: true });
  if (!link) throw new AuthenticationError('The connection of this setup link was deleted.');
  const macs = await vault.rowMacs(em);
  macs.verify(em, SetupLink, link);
  const [current = link] = await withRevokedKeys(em, macs, [link]);
  assertSetupLinkActive(current);
  return current;
}
