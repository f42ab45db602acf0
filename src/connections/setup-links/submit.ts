import type { FieldValue } from '../../apps/credentials.ts';
import { validationError } from '../../common/errors.ts';
import { strictObject } from '../../common/strict-object.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { toConverted } from '../credentials/conversion.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { convertConnection } from '../operations/convert.ts';
import { getConnection } from '../operations/read.ts';
import { updateConnection } from '../operations/update.ts';
import { checkSetup, type SetupResult } from './check.ts';
import { finishSetupLink, requireActiveSetupLink, requireConnectionId } from './finish.ts';
import { buildSetupView, getSecretFields, getSetupFields } from './view.ts';

/**
 * Sets the fields of the connection of a setup link, or of its pending conversion. Secrets replace the others if the app accepts
 * them; then the link is used up. Public values are stored, and then the connection is checked.
 *
 * @param caller the caller of a setup link
 * @param values by field; all that `SetupView.fields` names
 * @param signal aborts when the client disconnects; then no secrets are stored
 * @throws AppError `BAD_USER_INPUT`, `NOT_FOUND`, `RATE_LIMITED`, `UNAUTHENTICATED` (the link was used or revoked meanwhile),
 *   `VERSION_CONFLICT` (the conversion was changed meanwhile), or the error with which the app rejects the secrets
 */
export async function submitSetup(
  deps: ConnectionDeps,
  caller: Caller,
  values: Readonly<Record<string, FieldValue>>,
  signal?: AbortSignal,
): Promise<SetupResult> {
  const before = await getConnection(deps, caller, requireConnectionId(caller));
  const intended = toConverted(deps, before) ?? before;
  const { method } = resolveAppAndMethod(deps, intended);
  const fields = Object.entries(getSetupFields(method, intended));
  if (fields.length === 0) {
    const message = `“${method.label}” has nothing to enter. Follow the steps and check the connection.`;
    throw validationError([{ path: ['credentials'], message }]);
  }
  const schema = strictObject(Object.fromEntries(fields.map(([name, { schema }]) => [name, schema])));
  const { success, data, error } = schema.safeParse(values);
  if (!success) {
    throw validationError(
      error.issues.map(({ path, message }) => ({ path: ['credentials', ...path.map(String)], message })),
    );
  }
  if (Object.keys(getSecretFields(method)).length === 0) {
    await storeValues(deps, caller, before, data);
    return checkSetup(deps, caller, signal);
  }
  const { id, app } = before;
  const options = { signal, alongside: finishSetupLink(deps, caller) };
  const connection = await updateConnection(deps, caller, { app, id }, { credentials: data }, options);
  return { setup: await buildSetupView(deps, caller, connection), isFinished: true };
}

async function storeValues(
  deps: ConnectionDeps,
  caller: Caller,
  { id, app, version, conversion }: AppConnection,
  values: Record<string, FieldValue>,
): Promise<void> {
  const alongside = requireActiveSetupLink(deps, caller);
  if (!conversion) {
    await updateConnection(deps, caller, { app, id }, { credentials: values }, { alongside });
    return;
  }
  const { publicCredentials, revokeOldToken } = conversion;
  // That the connection is in use was acknowledged when the conversion was started.
  const acknowledgeUse = true;
  const input = { to: { ...publicCredentials, ...values }, version, revokeOldToken, acknowledgeUse };
  await convertConnection(deps, caller, { app, id }, input, { alongside });
}
