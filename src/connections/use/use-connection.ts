import { withRefusalAudit } from '../../audit/record-refusals.ts';
import { AppError, HttpError } from '../../common/errors.ts';
import type { Caller } from '../../identity/caller.ts';
import type { ConnectionDeps } from '../deps.ts';
import { connectionNotFound } from '../persistence/find-connection.ts';
import { useMethods } from '../use-policy/decide.ts';
import { normalisePath } from '../use-policy/normalise-path.ts';
import { assertUseAllowed, getUsePolicy } from '../use-policy/use-policy.ts';
import { withUsageCount } from './count-use.ts';
import { findOpenedConnection, type OpenedConnection } from './opened-connections.ts';
import { PermissionWatch } from './permission-watch.ts';
import { countRead, recordWrite } from './record-use.ts';
import { isReadingMethod, sendRequest } from './send-request.ts';
import type { UseRequest, UseResponse } from './use-request.ts';

/** A connection, and the id of its app if the caller names it; a connection to another app is not found. */
export interface UseTarget {
  id: string;
  app?: string;
}

const methods: ReadonlySet<string> = new Set(useMethods);

/**
 * Sends a request to the app of a connection, with the credentials of the connection, if its use policy allows it. Ends it
 * if it is no longer allowed while it runs.
 *
 * @throws AppError `FORBIDDEN`, `USE_DENIED`, `NOT_FOUND`, `BAD_USER_INPUT` (an ambiguous path), `RATE_LIMITED`, the code with
 *   which the app rejected the credentials, `CONNECTION_PENDING`, `HOST_NOT_ALLOWED`, `UPSTREAM_RATE_LIMITED` (the rate budget
 *   is spent), `UPSTREAM_UNREACHABLE`
 */
export function useConnection(
  deps: ConnectionDeps,
  caller: Caller,
  target: UseTarget,
  request: UseRequest,
): Promise<UseResponse> {
  return withUsageCount(deps.usage, caller, target, request, () =>
    authorizeAndSend(deps, caller, target, request),
  );
}

async function authorizeAndSend(
  deps: ConnectionDeps,
  caller: Caller,
  target: UseTarget,
  request: UseRequest,
): Promise<UseResponse> {
  const { opened, path } = await authorizeUse(deps, caller, target, request);
  const isWrite = !isReadingMethod(request.method);
  if (isWrite) await deps.limits.checkChange(caller);
  const watch = watchPermission(deps, target, { opened, path }, request);
  if (!isWrite) {
    countRead(deps, caller, opened);
    return sendRequest(deps, caller, { opened, path, watch }, request);
  }
  const write = { method: request.method, path, query: request.query };
  const response = await sendRequest(deps, caller, { opened, path, watch }, request).catch(
    async (error: unknown) => {
      if (error instanceof AppError) {
        const outcome = request.signal?.aborted ? 'CLIENT_DISCONNECTED' : error.code;
        await recordWrite(deps, caller, opened, { ...write, outcome });
      }
      throw error;
    },
  );
  // Before the caller gets the response, so that no write that it knows of is missing in the audit trail.
  await recordWrite(deps, caller, opened, { ...write, status: response.status }).catch((error: unknown) => {
    response.body.destroy();
    throw error;
  });
  return response;
}

/** Decides whether a request may be sent. Refusals are audited. */
async function authorizeUse(
  deps: ConnectionDeps,
  caller: Caller,
  target: UseTarget,
  { method, path: rawPath }: UseRequest,
): Promise<{ opened: OpenedConnection; path: string }> {
  await deps.limits.checkUse(caller);
  return withRefusalAudit(deps, caller, describeAttempt(target), async () => {
    caller.requireScope('connections:use');
    if (!methods.has(method)) {
      throw new HttpError(405, 'BAD_USER_INPUT', 'This method is not sent through connections.', {
        headers: { allow: [...methods].join(', ') },
        remedy: `Use ${[...methods].join(', ')}.`,
      });
    }
    const path = normalisePath(rawPath);
    return { opened: await findUsable(deps, caller, target, { method, path }), path };
  });
}

function describeAttempt({ id }: UseTarget) {
  return { action: 'USE_CONNECTION', connectionId: id } as const;
}

/** Finds a connection through which a caller may send a request. `path`: normalised. */
async function findUsable(
  deps: ConnectionDeps,
  caller: Caller,
  { id, app }: UseTarget,
  { method, path }: Pick<UseRequest, 'method' | 'path'>,
): Promise<OpenedConnection> {
  const opened = await findOpenedConnection(deps, caller.orgId, id);
  if (!opened || !maySee(caller, opened) || (app && opened.app.id !== app)) throw connectionNotFound();
  assertUseAllowed(getUsePolicy(opened.app, opened.connection), method, path);
  assertUsable(opened);
  return opened;
}

/** Watches whether a request is still allowed while it runs. The audit trail records the refusal if it is not. */
function watchPermission(
  deps: ConnectionDeps,
  target: UseTarget,
  { opened: { connection, app }, path }: { opened: OpenedConnection; path: string },
  { method, authenticateAgain }: UseRequest,
): PermissionWatch {
  return new PermissionWatch(app.name, async () => {
    const caller = await authenticateAgain();
    await withRefusalAudit(deps, caller, describeAttempt(target), async () => {
      caller.requireScope('connections:use');
      const { connection: current } = await findUsable(deps, caller, target, { method, path });
      // A conversion leaves no gap: what was sent with the old credentials goes on.
      const isConverted = current.method !== connection.method;
      if (current.credentialsHash !== connection.credentialsHash && !isConverted)
        throw new AppError('VERSION_CONFLICT', 'The credentials of the connection were replaced.');
    });
  });
}

function maySee(caller: Caller, { connection: { id, projectId } }: OpenedConnection): boolean {
  return caller.maySeeConnection({ id, projectId: projectId ?? null });
}

/** @throws AppError `CONNECTION_PENDING`, or with the code of the last verification, if it rejected the credentials */
function assertUsable({ connection, app }: OpenedConnection): void {
  const { verificationStatus, verificationCode, verificationMessage, verificationRemedy } = connection;
  if (verificationStatus === 'PENDING') {
    throw new AppError(
      'CONNECTION_PENDING',
      `Nothing was sent to ${app.name}. ${verificationMessage ?? ''}`.trim(),
      {
        ...(verificationRemedy && { remedy: verificationRemedy }),
      },
    );
  }
  if (verificationStatus !== 'REJECTED') return;
  throw new AppError(
    verificationCode ?? 'CREDENTIALS_REJECTED',
    `Nothing was sent to ${app.name}, because the credentials of the connection do not work. ${verificationMessage ?? ''}`.trim(),
    { remedy: 'Update the credentials of the connection, or verify it again if they work now.' },
  );
}
