import type { AuthMethod } from '../../apps/app.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { pickExpiry } from '../credentials/expiry.ts';
import { isOtherClient, leaveKeys } from '../credentials/former-keys.ts';
import { findUrlField } from '../credentials/host.ts';
import { listRetiredKeys } from '../credentials/key-states.ts';
import { isUntried, pendingColumns, prepareChangedKeys } from '../credentials/keys.ts';
import { type MergedCredentials, mergeCredentials } from '../credentials/merge.ts';
import { addRevocation, assertRevocable } from '../credentials/revocation.ts';
import {
  assertSameInactiveSecrets,
  hasInactiveSecrets,
  openCredentials,
  type StoredCredentials,
  sealCredentials,
} from '../credentials/seal.ts';
import { splitCredentials } from '../credentials/split.ts';
import { verifyNewCredentials } from '../credentials/verify.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { assertVersion } from '../persistence/change-connection.ts';
import type { UpdateConnection } from '../update-input.ts';
import { assertUseAcknowledged } from '../usage/acknowledge-use.ts';

/** New credentials of a connection, verified and encrypted. */
export interface Replacement {
  columns: Partial<AppConnection>;
  credentials: StoredCredentials;
  /** The names of the changed fields. */
  fields: string[];
  /** Whether stored secrets are among the credentials. */
  hasStoredSecrets: boolean;
  /** Whether the credentials belong to another client of the app. */
  isOtherClient: boolean;
}

/**
 * Prepares the credentials that an update gives a connection: merges them with the stored ones, verifies and encrypts them, and
 * decides what happens to the old ones. While the app does not know the key of the connection, they are not verified.
 *
 * @param before loaded with its secrets
 * @param signal aborts when the client disconnects
 * @returns undefined if the credentials stay the same
 * @throws AppError `BAD_USER_INPUT`, `HOST_NOT_ALLOWED`, `CONNECTION_IN_USE`, `RATE_LIMITED`, or the error with which the app
 *   rejects the credentials
 */
export async function prepareReplacement(
  deps: ConnectionDeps,
  caller: Caller,
  before: AppConnection,
  input: UpdateConnection,
  signal: AbortSignal | undefined,
): Promise<Replacement | undefined> {
  const { id, orgId } = before;
  const { app, method } = resolveAppAndMethod(deps, before);
  const merged = await mergeCredentials(deps, caller, before, input);
  const isMoved = merged?.fields.includes(findUrlField(method) ?? '') ?? false;
  if (isMoved) await assertUseAcknowledged(deps, caller, id, input.acknowledgeUse);
  const prepared = merged && (await prepareChangedKeys(method, before, merged));
  const old = await prepareOldCredentials(deps, method, before, input, prepared);
  if (!merged || !prepared) return undefined;

  const { credentials: given } = prepared;
  const credentials = { ...given, inactive: old?.inactive ?? {} };
  // Another host has limits of its own.
  const options = { signal, connectionId: id, ...(!isMoved && { connection: before }) };
  const verification = isUntried(before)
    ? pendingColumns(method, given.public)
    : await verifyNewCredentials(deps, caller, { app, method }, given, options);
  const sealed = await sealCredentials(deps, { app, method, orgId, connectionId: id }, credentials);
  return {
    columns: {
      ...prepared.columns,
      ...verification,
      ...sealed,
      // The key of this server stays, and so does its age.
      ...(before.isPlatformManagedCredentials && pickExpiry(before)),
      // It was about the old credentials.
      keyRegistrationFailure: null,
      // It was about the old URL.
      ...(isMoved && { conversionVerification: null }),
      ...old?.columns,
    },
    credentials,
    fields: [...merged.fields.map((field) => `credentials.${field}`), ...(old?.fields ?? [])],
    hasStoredSecrets: merged.hasStoredSecrets,
    isOtherClient: isOtherClient(method, before, given.public),
  };
}

/** What happens to the credentials that others replace. */
interface OldCredentials {
  columns?: Partial<AppConnection>;
  /** The names of the changed fields. */
  fields?: string[];
  /** The inactive secrets that the connection has then. */
  inactive?: StoredCredentials['inactive'];
}

/**
 * Prepares the revocation of the old credentials, if the caller wants it, or the removal of the keys that they leave at another
 * client of the app.
 *
 * @throws AppError `BAD_USER_INPUT` if the old credentials cannot be revoked
 */
async function prepareOldCredentials(
  deps: ConnectionDeps,
  method: AuthMethod,
  before: AppConnection,
  { revokeOldToken, credentials }: UpdateConnection,
  prepared: Pick<MergedCredentials, 'credentials'> | undefined,
): Promise<OldCredentials | undefined> {
  const open = () => openCredentials(deps, deps.database.forOrganisation(before.orgId), before);
  if (revokeOldToken) {
    const stored = await open();
    const { secret } = splitCredentials(method, credentials ?? {});
    await assertRevocable(deps, before, method, { stored, secret });
    return { ...addRevocation(before, stored), fields: ['revocation'] };
  }
  const shown = prepared?.credentials.public;
  if (!shown || !(isOtherClient(method, before, shown) || hasInactiveSecrets(before))) return undefined;
  const stored = await open();
  return { inactive: stored.inactive, ...leaveKeys(method, before, stored, shown) };
}

/**
 * Gives a connection its new credentials.
 *
 * @param before the connection for which they were prepared
 * @returns the names of the changed fields
 * @throws CredentialsReplaced if what they were merged with was replaced meanwhile
 * @throws AppError `VERSION_CONFLICT` likewise
 */
export function applyReplacement(
  connection: AppConnection,
  before: AppConnection,
  replacement: Replacement,
): string[] {
  assertSameInactiveSecrets(connection, before);
  // Stored secrets were merged: another update may have replaced them since, and would be undone.
  if (replacement.hasStoredSecrets && connection.credentialsHash !== before.credentialsHash)
    assertVersion(connection, before);
  Object.assign(connection, replacement.columns);
  // They belong to the former client, where the server removes them or names them.
  const retired = replacement.isOtherClient ? listRetiredKeys(connection) : [];
  if (retired.length === 0) return replacement.fields;
  connection.keys = connection.keys?.filter((key) => !retired.includes(key));
  return [...replacement.fields, 'credentials.keys'];
}
