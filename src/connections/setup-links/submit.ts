import { validationError } from '../../common/errors.ts';
import type { Secret } from '../../common/secret.ts';
import type { Caller } from '../../identity/caller.ts';
import { toConverted } from '../credentials/conversion.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { strictObject } from '../input-schemas.ts';
import { getConnection } from '../operations/read.ts';
import { updateConnection } from '../operations/update.ts';
import type { SetupResult } from './check.ts';
import { finishSetupLink, requireConnectionId } from './finish.ts';
import { buildSetupView, getSetupFields } from './view.ts';

/**
 * Replaces the secrets of the connection of a setup link, if the app accepts them. Then the link is used up.
 *
 * @param caller the caller of a setup link
 * @param secrets by field; all that `SetupView.fields` names
 * @param signal aborts when the client disconnects; then nothing is stored
 * @throws AppError `BAD_USER_INPUT`, `NOT_FOUND`, `RATE_LIMITED`, `UNAUTHENTICATED` (the link was used or revoked meanwhile), or
 *   the error with which the app rejects the secrets
 */
export async function submitSetupSecrets(
  deps: ConnectionDeps,
  caller: Caller,
  secrets: Readonly<Record<string, Secret | undefined>>,
  signal?: AbortSignal,
): Promise<SetupResult> {
  const before = await getConnection(deps, caller, requireConnectionId(caller));
  const { app, method } = resolveAppAndMethod(deps, toConverted(deps, before) ?? before);
  const fields = Object.entries(getSetupFields(method));
  if (fields.length === 0) {
    const message = `“${method.label}” has no secret to enter. Follow the steps and check the connection.`;
    throw validationError([{ path: ['credentials'], message }]);
  }
  const schema = strictObject(Object.fromEntries(fields.map(([name, { schema }]) => [name, schema])));
  const { success, data, error } = schema.safeParse(secrets);
  if (!success) {
    throw validationError(
      error.issues.map(({ path, message }) => ({ path: ['credentials', ...path.map(String)], message })),
    );
  }
  const connection = await updateConnection(
    deps,
    caller,
    { app: app.id, id: before.id },
    { credentials: data },
    { signal, alongside: finishSetupLink(deps, caller) },
  );
  return { setup: await buildSetupView(deps, caller, connection), isFinished: true };
}
