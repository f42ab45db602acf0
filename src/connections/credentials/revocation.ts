import { randomUUID } from 'node:crypto';
import type { AuthMethod } from '../../apps/app.ts';
import type { Credentials } from '../../apps/credentials.ts';
import { currentTime } from '../../common/clock.ts';
import { validationError } from '../../common/errors.ts';
import type { Secret } from '../../common/secret.ts';
import { AppConnection, type PendingRevocation } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import { getInactiveSecrets, replaceInactiveSecrets } from './inactive-secrets.ts';
import type { StoredCredentials } from './seal.ts';

/**
 * How long replaced credentials stay valid before they are revoked, in milliseconds: other servers use a connection that they
 * have opened for up to 1.5 seconds.
 */
const delayMs = 3_000;

/** The columns of a connection about the credentials to revoke. */
type RevocationColumns = Pick<AppConnection, 'revocations' | 'revokeAt'>;

const prefix = ({ id }: Pick<PendingRevocation, 'id'>) => `revocation.${id}.`;

/**
 * Checks that the credentials of a connection can be revoked once others have replaced them.
 *
 * @param before the connection with the credentials to revoke, and its method
 * @param change `stored`: its opened credentials; `secret`: the secrets that the request replaces; absent if all are
 * @throws AppError `BAD_USER_INPUT`
 */
export async function assertRevocable(
  { database }: Pick<ConnectionDeps, 'database'>,
  before: AppConnection,
  { label, revoke }: AuthMethod,
  { stored, secret }: { stored: StoredCredentials; secret?: Credentials['secret'] },
): Promise<void> {
  const refuse = (message: string) => validationError([{ path: ['revokeOldToken'], message }]);
  if (!revoke) throw refuse(`The method “${label}” has no token that can be revoked. Remove this.`);
  const given = secret && Object.entries(secret);
  if (given?.length === 0)
    throw refuse('The old token is revoked only when another replaces it. Give the new token.');
  if (given?.some(([name, value]) => isSame(value, stored.secret[name])))
    throw refuse('The new token is the one in use, which would be revoked. Give another token.');
  const { id, orgId, credentialsHash } = before;
  const others = { id: { $ne: id }, orgId, credentialsHash, deletedAt: null };
  if ((await database.forOrganisation(orgId).count(AppConnection, others)) > 0) {
    throw refuse(
      'Another connection of the organisation uses the same token. Replace it there first, or do not revoke it.',
    );
  }
}

function isSame(one: Secret, other: Secret | undefined): boolean {
  return one.reveal() === other?.reveal();
}

/**
 * Prepares the revocation of the credentials that others replace. They stay encrypted in the connection until they are revoked.
 *
 * @param before the connection with the credentials to revoke
 * @param stored its opened credentials
 * @param keyIds the ids of the keys that are removed at the app instead
 */
export function addRevocation(
  before: AppConnection,
  stored: StoredCredentials,
  keyIds?: string[],
): { columns: RevocationColumns; inactive: NonNullable<StoredCredentials['inactive']> } {
  const now = currentTime();
  const { method, publicCredentials } = before;
  const revocation = {
    ...{ id: randomUUID(), method, publicCredentials, requestedAt: now.toISOString() },
    ...(keyIds && { keyIds }),
  };
  return {
    columns: {
      revocations: [...(before.revocations ?? []), revocation],
      revokeAt: new Date(now.getTime() + delayMs),
    },
    inactive: replaceInactiveSecrets(stored, prefix(revocation), stored.secret),
  };
}

/** Returns the credentials to revoke. */
export function openRevocation(revocation: PendingRevocation, stored: StoredCredentials): Credentials {
  return {
    public: revocation.publicCredentials,
    secret: getInactiveSecrets(stored, prefix(revocation)),
  };
}

/** Returns what is left of a connection without a revocation: its columns, and its credentials without those of the revocation. */
export function removeRevocation(
  before: AppConnection,
  stored: StoredCredentials,
  revocation: PendingRevocation,
): { columns: RevocationColumns; credentials: StoredCredentials } {
  const left = (before.revocations ?? []).filter(({ id }) => id !== revocation.id);
  return {
    columns: left.length > 0 ? { revocations: left, revokeAt: nextRevocationTime(left) } : noRevocations,
    credentials: { ...stored, inactive: replaceInactiveSecrets(stored, prefix(revocation)) },
  };
}

/** The time of the first of these revocations. It has passed if the revocation was tried already. */
function nextRevocationTime(revocations: readonly PendingRevocation[]): Date {
  return new Date(Math.min(...revocations.map(({ requestedAt }) => Date.parse(requestedAt) + delayMs)));
}

/** The columns of a connection without credentials to revoke. */
export const noRevocations = { revocations: null, revokeAt: null } as const;
