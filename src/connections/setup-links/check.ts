import type { Caller } from '../../identity/caller.ts';
import { toConverted } from '../credentials/conversion.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { getConnection } from '../operations/read.ts';
import { verifyConnection } from '../operations/verify.ts';
import { finishSetupLink, requireConnectionId } from './finish.ts';
import { buildSetupView, getSetupFields, type SetupView } from './view.ts';

/** The result of a step through a setup link. */
export interface SetupResult {
  setup: SetupView;
  /** Whether the credentials work, so that the link is used up. */
  isFinished: boolean;
}

/**
 * Verifies the stored credentials of the connection of a setup link, those of its pending conversion first. If they work and
 * the link has nothing to enter, it is used up. A link that asks for a secret is not: its purpose is another secret.
 *
 * @param caller the caller of a setup link
 * @param signal aborts when the client disconnects
 * @throws AppError `NOT_FOUND`, `RATE_LIMITED`, `UNAUTHENTICATED` (the link was used or revoked meanwhile)
 */
export async function checkSetup(
  deps: ConnectionDeps,
  caller: Caller,
  signal?: AbortSignal,
): Promise<SetupResult> {
  const id = requireConnectionId(caller);
  const before = await getConnection(deps, caller, id);
  const { method } = resolveAppAndMethod(deps, toConverted(deps, before) ?? before);
  const asksForSecret = Object.keys(getSetupFields(method)).length > 0;
  const connection = await verifyConnection(
    deps,
    caller,
    { id },
    { signal, ...(!asksForSecret && { ifVerified: finishSetupLink(deps, caller) }) },
  );
  return {
    setup: await buildSetupView(deps, caller, connection),
    isFinished: !asksForSecret && !connection.conversion && connection.verificationStatus === 'VERIFIED',
  };
}
