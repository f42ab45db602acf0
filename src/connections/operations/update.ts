import { withRefusalAudit } from '../../audit/record-refusals.ts';
import type { Caller } from '../../identity/caller.ts';
import { applyAnnotations } from '../annotations.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { pickExpiry } from '../credentials/expiry.ts';
import { isOtherClient, leaveKeys } from '../credentials/former-keys.ts';
import { findUrlField } from '../credentials/host.ts';
import { isUntried, pendingColumns, prepareChangedKeys } from '../credentials/keys.ts';
import { mergeCredentials } from '../credentials/merge.ts';
import { addRevocation, assertRevocable } from '../credentials/revocation.ts';
import {
  assertSameInactiveSecrets,
  hasInactiveSecrets,
  openCredentials,
  retryIfReplaced,
  sealCredentials,
} from '../credentials/seal.ts';
import { splitCredentials } from '../credentials/split.ts';
import { verifyNewCredentials } from '../credentials/verify.ts';
import { type ConnectionDeps, requireApp, resolveAppAndMethod } from '../deps.ts';
import { type FieldPaths, requireSelectable, updatePayloadFields } from '../payload-authorization.ts';
import { assertVersion, changeConnection, type PrepareAlongside } from '../persistence/change-connection.ts';
import { findConnection } from '../persistence/find-connection.ts';
import { type BuildOutcome, runIdempotent } from '../persistence/idempotency.ts';
import { assertNameAvailable, mapNameConflict } from '../persistence/project-and-name.ts';
import { fromSnapshot, toSnapshot } from '../persistence/snapshot.ts';
import { assertRecipientAllowed } from '../recipient.ts';
import type { UpdateConnection } from '../update-input.ts';
import { assertUseAcknowledged } from '../usage/acknowledge-use.ts';

/** Options of an update. */
export interface UpdateOptions {
  /** Aborts when the client disconnects; if the app is being called then, nothing is changed. */
  signal?: AbortSignal | undefined;
  /** The paths of the fields that the client selects. */
  selected?: FieldPaths;
  /** What is stored with the update. */
  alongside?: PrepareAlongside;
}

/**
 * Updates a connection. Absent fields stay the same. New credentials are verified first, and replace the old ones only
 * if the app accepts them; `revokeOldToken` has the old token revoked then. While the app does not know the key of a
 * connection, they are stored without asking it. Another URL for a connection that is in use has to be acknowledged.
 *
 * @param target `app`: the id of an app; a connection to another app is not found
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `VERSION_CONFLICT`, `NAME_TAKEN`, `BAD_USER_INPUT` (a missing secret, or
 *   another organisation of the app), `IDEMPOTENCY_CONFLICT`, `CONNECTION_IN_USE`, or the error with which the app rejects the
 *   credentials
 */
export async function updateConnection(
  deps: ConnectionDeps,
  caller: Caller,
  target: { app: string; id: string },
  input: UpdateConnection,
  { signal, selected = [], alongside }: UpdateOptions = {},
): Promise<AppConnection> {
  const { id } = target;
  const { idempotencyKey, ...fields } = input;
  const action = 'UPDATE_CONNECTION';
  return withRefusalAudit(deps, caller, { action, connectionId: id }, () => {
    caller.requireScope('connections:write');
    requireSelectable(caller, updatePayloadFields(requireApp(deps, target.app), input), selected);

    const idempotency = { idempotencyKey, request: { update: id, ...fields } };
    const update = async (buildOutcome: BuildOutcome): Promise<AppConnection> => {
      const em = deps.database.forOrganisation(caller.orgId);
      const before = await findConnection(em, caller, target, { withSecrets: true });
      const expected = { id, version: input.version };
      assertVersion(before, expected);
      if (input.owner && input.owner.email !== before.owner?.email)
        assertRecipientAllowed(deps, input.owner.email, ['owner', 'email']);
      const name = input.name ?? before.name;
      if (name !== before.name) {
        caller.requireNamingConnections();
        await assertNameAvailable(deps.database, before, name);
      }

      const { app, method } = resolveAppAndMethod(deps, before);
      const merged = await mergeCredentials(deps, caller, before, input);
      const isMoved = merged?.fields.includes(findUrlField(method) ?? '') ?? false;
      if (isMoved) await assertUseAcknowledged(deps, caller, id, input.acknowledgeUse);
      const prepared = merged && (await prepareChangedKeys(method, before, merged));
      const isMoving = prepared && isOtherClient(method, before, prepared.credentials.public);
      const stored =
        input.revokeOldToken || (prepared && (isMoving || hasInactiveSecrets(before)))
          ? await openCredentials(deps, em, before)
          : undefined;
      if (stored && input.revokeOldToken) {
        const { secret } = splitCredentials(method, input.credentials ?? {});
        await assertRevocable(deps, before, method, { stored, secret });
      }
      const revocation = stored && input.revokeOldToken ? addRevocation(before, stored) : undefined;
      const former = stored && prepared && leaveKeys(method, before, stored, prepared.credentials.public);
      const credentials = prepared && {
        ...prepared.credentials,
        inactive: revocation?.inactive ?? former?.inactive ?? stored?.inactive ?? {},
      };
      const columns = prepared && {
        ...prepared.columns,
        ...(isUntried(before)
          ? pendingColumns(method, prepared.credentials.public)
          : await verifyNewCredentials(deps, caller, { app, method }, prepared.credentials, {
              signal,
              connectionId: id,
              // Another host has limits of its own.
              ...(!isMoved && { connection: before }),
            })),
        ...(await sealCredentials(
          deps,
          { app, method, orgId: before.orgId, connectionId: id },
          credentials ?? prepared.credentials,
        )),
        ...revocation?.columns,
        // The key of this server stays, and so does its age.
        ...(before.isPlatformManagedCredentials && pickExpiry(before)),
        // It was about the old credentials.
        keyRegistrationFailure: null,
        ...former?.columns,
        // It was about the old URL.
        ...(isMoved && { conversionVerification: null }),
      };

      const apply = (connection: AppConnection): string[] => {
        if (columns) assertSameInactiveSecrets(connection, before);
        // Stored secrets were merged: another update may have replaced them since, and would be undone.
        if (merged?.hasStoredSecrets && connection.credentialsHash !== before.credentialsHash) {
          assertVersion(connection, { id, version: before.version });
        }
        const isRenamed = input.name != null && input.name !== connection.name;
        const isDescribed = input.description !== undefined && input.description !== connection.description;
        Object.assign(connection, columns);
        if (input.name != null) connection.name = input.name;
        if (input.description !== undefined) connection.description = input.description;
        const share = input.maxShareOfRateLimit;
        const isShareChanged = share !== undefined && share !== connection.maxShareOfRateLimit;
        if (share !== undefined) connection.maxShareOfRateLimit = share;
        const { checkEvery } = input;
        const isIntervalChanged = checkEvery !== undefined && checkEvery !== connection.checkEvery;
        if (isIntervalChanged) Object.assign(connection, { checkEvery, nextCheckAt: null, checkDelay: null });
        return [
          ...(isRenamed ? ['name'] : []),
          ...(isDescribed ? ['description'] : []),
          ...applyAnnotations(connection, input),
          ...(isShareChanged ? ['maxShareOfRateLimit'] : []),
          ...(isIntervalChanged ? ['checkEvery'] : []),
          ...(merged?.fields ?? []).map((field) => `credentials.${field}`),
          ...(revocation ? ['revocation'] : []),
          ...(former?.fields ?? []),
        ];
      };
      return mapNameConflict(before, () =>
        changeConnection(deps, caller, {
          target: expected,
          action,
          apply,
          credentials,
          alongside,
          buildOutcome: (connection) => buildOutcome(() => toSnapshot(connection)),
        }),
      );
    };
    const updateStored = (buildOutcome: BuildOutcome) => retryIfReplaced(() => update(buildOutcome));
    return runIdempotent(deps, caller, idempotency, updateStored, fromSnapshot);
  });
}
