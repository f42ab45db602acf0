import { withRefusalAudit } from '../../audit/record-refusals.ts';
import type { Caller } from '../../identity/caller.ts';
import { applyAnnotations } from '../annotations.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { retryIfReplaced } from '../credentials/seal.ts';
import { type ConnectionDeps, requireApp } from '../deps.ts';
import { type FieldPaths, requireSelectable, updatePayloadFields } from '../payload-authorization.ts';
import { assertVersion, changeConnection, type PrepareAlongside } from '../persistence/change-connection.ts';
import { findConnection } from '../persistence/find-connection.ts';
import { type BuildOutcome, runIdempotent } from '../persistence/idempotency.ts';
import { assertNameAvailable, mapNameConflict } from '../persistence/project-and-name.ts';
import { fromSnapshot, toSnapshot } from '../persistence/snapshot.ts';
import { assertRecipientAllowed } from '../recipient.ts';
import type { UpdateConnection } from '../update-input.ts';
import { applyReplacement, prepareReplacement } from './replacement.ts';

const action = 'UPDATE_CONNECTION';

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
 * connection, they are stored without a verification. Another URL for a connection that is in use has to be acknowledged.
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
  return withRefusalAudit(deps, caller, { action, connectionId: id }, () => {
    caller.requireScope('connections:write');
    requireSelectable(caller, updatePayloadFields(requireApp(deps, target.app), input), selected);

    const idempotency = { idempotencyKey, request: { update: id, ...fields } };
    const update = (buildOutcome: BuildOutcome) =>
      verifyAndChange(deps, caller, { target, input, signal, alongside, buildOutcome });
    const updateStored = (buildOutcome: BuildOutcome) => retryIfReplaced(() => update(buildOutcome));
    return runIdempotent(deps, caller, idempotency, updateStored, fromSnapshot);
  });
}

interface UpdateRequest extends Pick<UpdateOptions, 'signal' | 'alongside'> {
  target: { app: string; id: string };
  input: UpdateConnection;
  buildOutcome: BuildOutcome;
}

async function verifyAndChange(
  deps: ConnectionDeps,
  caller: Caller,
  { target, input, signal, alongside, buildOutcome }: UpdateRequest,
): Promise<AppConnection> {
  const em = deps.database.forOrganisation(caller.orgId);
  const before = await findConnection(em, caller, target, { withSecrets: true });
  const expected = { id: target.id, version: input.version };
  assertVersion(before, expected);
  await assertOwnerAndName(deps, caller, before, input);
  const replacement = await prepareReplacement(deps, caller, before, input, signal);
  return mapNameConflict(before, () =>
    changeConnection(deps, caller, {
      target: expected,
      action,
      apply: (connection) => {
        // In this order: both set the time of the next check, and a changed interval decides.
        const replaced = replacement ? applyReplacement(connection, before, replacement) : [];
        return [...applyFields(connection, input), ...replaced];
      },
      credentials: replacement?.credentials,
      alongside,
      buildOutcome: (connection) => buildOutcome(() => toSnapshot(connection)),
    }),
  );
}

/** Checks that the caller may give the connection its new owner and name. */
async function assertOwnerAndName(
  deps: ConnectionDeps,
  caller: Caller,
  before: AppConnection,
  { owner, name }: UpdateConnection,
): Promise<void> {
  if (owner && owner.email !== before.owner?.email)
    assertRecipientAllowed(deps, owner.email, ['owner', 'email']);
  if (name == null || name === before.name) return;
  caller.requireNamingConnections();
  await assertNameAvailable(deps.database, before, name);
}

/** Sets the fields of a connection other than its credentials, and returns the names of those that changed. */
function applyFields(connection: AppConnection, input: UpdateConnection): string[] {
  const { name, description, maxShareOfRateLimit, checkEvery } = input;
  const changed: Partial<AppConnection> = {
    ...(name != null && name !== connection.name && { name }),
    ...(description !== undefined && description !== connection.description && { description }),
  };
  const settings: Partial<AppConnection> = {
    ...(maxShareOfRateLimit !== undefined &&
      maxShareOfRateLimit !== connection.maxShareOfRateLimit && { maxShareOfRateLimit }),
    ...(checkEvery !== undefined && checkEvery !== connection.checkEvery && { checkEvery }),
  };
  Object.assign(connection, changed, settings);
  if ('checkEvery' in settings) Object.assign(connection, { nextCheckAt: null, checkDelay: null });
  return [...Object.keys(changed), ...applyAnnotations(connection, input), ...Object.keys(settings)];
}
