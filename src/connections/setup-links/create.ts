import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { storeWithEvents } from '../../audit/audited-change.ts';
import { withRequestContext } from '../../audit/hash-chain.ts';
import { withRefusalAudit } from '../../audit/record-refusals.ts';
import { digestCredential, generateCredential } from '../../auth/api-keys.ts';
import { currentTime } from '../../common/clock.ts';
import { validationError } from '../../common/errors.ts';
import { Secret } from '../../common/secret.ts';
import type { RowMacs } from '../../encryption/row-macs.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import { findConnection } from '../persistence/find-connection.ts';
import { SetupLink } from '../setup-link.entity.ts';
import { setupLinkPrefix } from './authenticate.ts';
import { withRevokedKeys } from './setup-link.ts';

const daySeconds = 86_400;
/** How long a setup link works by default, in seconds: a weekend passes before the other person reads the message. */
export const defaultExpirySeconds = 3 * daySeconds;
const minExpirySeconds = 300;
const maxExpirySeconds = 14 * daySeconds;
const maxActiveLinks = 5;

const expiryRule = { error: `The lifetime is ${minExpirySeconds} to ${maxExpirySeconds} seconds (14 days).` };

/** The schema of the lifetime of a setup link, in seconds. */
export const expiresInSchema = z
  .int(expiryRule)
  .min(minExpirySeconds, expiryRule)
  .max(maxExpirySeconds, expiryRule);

/** The description of the lifetime in both APIs. */
export const expiresInDescription = `How long the link works, in seconds: ${minExpirySeconds} to ${maxExpirySeconds} (14 days). Default: ${defaultExpirySeconds} (3 days). It ends with the API key that creates it.`;

/** A new setup link. `url` is the only copy of its secret. */
export interface CreatedSetupLink {
  setupLink: SetupLink;
  url: Secret;
}

/**
 * Creates a setup link of a connection. Only the hash of its secret is stored.
 *
 * @param target `app`: the id of an app; a connection to another app is not found
 * @param expiresIn the lifetime in seconds
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `RATE_LIMITED`, `BAD_USER_INPUT` (the connection has too many active links)
 */
export async function createSetupLink(
  deps: ConnectionDeps,
  caller: Caller,
  target: { id: string; app?: string },
  expiresIn: number = defaultExpirySeconds,
): Promise<CreatedSetupLink> {
  const { id: connectionId } = target;
  const action = 'CREATE_SETUP_LINK';
  return withRefusalAudit(deps, caller, { action, connectionId }, async () => {
    caller.requireScope('connections:write');
    await deps.limits.checkChange(caller);
    const { orgId } = caller;
    const secret = generateCredential(setupLinkPrefix);
    const setupLink = await storeWithEvents(deps, orgId, {
      row: { entity: AppConnection, id: connectionId },
      prepare: async (em) => {
        const { name: connectionName, projectId } = await findConnection(em, caller, target);
        const createdAt = currentTime();
        const macs = await deps.vault.rowMacs(em);
        await assertFewActive(deps, macs, { orgId, connectionId }, createdAt);
        const link = macs.signed(em, SetupLink, {
          id: randomUUID(),
          orgId,
          connectionId,
          hash: digestCredential(secret),
          createdAt,
          createdByKeyId: caller.keyId,
          expiresAt: latestExpiry(caller, createdAt, expiresIn),
          openedAt: null,
          finishedAt: null,
          revokedAt: null,
        });
        const event = withRequestContext({
          ...caller.actor,
          ...{ action, connectionId, connectionName, projectId, setupLinkId: link.id },
          outcome: 'OK',
          fields: ['expiresAt'],
        });
        return { events: [event], inserts: [[SetupLink, link]], result: link };
      },
    });
    return { setupLink, url: new Secret(`${deps.getPublicUrl()}/setup#${secret.reveal()}`) };
  });
}

/** A link does not outlive the API key that creates it. The expiry of an access token is that of a session, and says nothing. */
function latestExpiry({ keyId, expiresAt }: Caller, createdAt: Date, expiresIn: number): Date {
  const latest = new Date(createdAt.getTime() + expiresIn * 1_000);
  return keyId !== null && expiresAt && expiresAt < latest ? expiresAt : latest;
}

async function assertFewActive(
  { database }: ConnectionDeps,
  macs: RowMacs,
  connection: { orgId: string; connectionId: string },
  now: Date,
): Promise<void> {
  const em = database.forOrganisation(connection.orgId);
  const isActive = { ...connection, finishedAt: null, revokedAt: null, expiresAt: { $gt: now } };
  const links = await withRevokedKeys(em, macs, await em.find(SetupLink, isActive));
  if (links.filter(({ revokedAt }) => !revokedAt).length < maxActiveLinks) return;
  const message = `The connection has ${maxActiveLinks} active setup links already. Revoke one of them first.`;
  throw validationError([{ path: ['connectionId'], message }]);
}
