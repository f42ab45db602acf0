import type { Caller } from '../../identity/caller.ts';
import { toConverted } from '../credentials/conversion.ts';
import { listAwaitedFields } from '../deferrable-fields.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { getConnection } from '../operations/read.ts';
import { verifyConnection } from '../operations/verify.ts';
import { finishSetupLink, requireConnectionId } from './finish.ts';
import { buildSetupView, getSecretFields, type SetupView } from './view.ts';

/** The result of a step through a setup link. */
export interface SetupResult {
  setup: SetupView;
  /** Whether the credentials work, so that the link is used up. */
  isFinished: boolean;
}

/**
 * Verifies the stored credentials of the connection of a setup link, those of its pending conversion first. If they work and
 * the link asks for no secret, it is used up. One that does is not: its purpose is another secret. Without a value that the link
 * asks for, nothing is verified.
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
  const intended = toConverted(deps, before) ?? before;
  const { method } = resolveAppAndMethod(deps, intended);
  if (listAwaitedFields(method, intended.publicCredentials).length > 0)
    return { setup: await buildSetupView(deps, caller, before), isFinished: false };
  const asksForSecret = Object.keys(getSecretFields(method)).length > 0;
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
