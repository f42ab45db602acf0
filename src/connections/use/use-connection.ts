import type { Readable } from 'node:stream';
import { hostNotAllowedError, ownOutboundError } from '../../apps/map-outbound-error.ts';
import { withRefusalAudit } from '../../audit/record-refusals.ts';
import { AppError, HttpError } from '../../common/errors.ts';
import { safeErrorFields } from '../../common/log.ts';
import type { Caller } from '../../identity/caller.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import type { StreamedResponse, TransferredBytes } from '../../outbound/streamed-response.ts';
import { type ConnectionDeps, unmeteredOutbound } from '../deps.ts';
import { connectionNotFound } from '../persistence/find-connection.ts';
import { useMethods } from '../use-policy/decide.ts';
import { normalisePath } from '../use-policy/normalise-path.ts';
import { assertUseAllowed, getUsePolicy } from '../use-policy/use-policy.ts';
import { confirmRejection } from './confirm-rejection.ts';
import { withUsageCount } from './count-use.ts';
import { findOpenedConnection, type OpenedConnection } from './opened-connections.ts';
import { PermissionWatch } from './permission-watch.ts';
import { countRead, recordWrite } from './record-use.ts';
import { RejectionReader } from './rejection-reader.ts';
import { toAppHeaders } from './request-headers.ts';
import { type Header, toCallerHeaders } from './response-headers.ts';
import { sendWithinBudget } from './send-within-budget.ts';

/** A connection, and the id of its app if the caller names it; a connection to another app is not found. */
export interface UseTarget {
  id: string;
  app?: string;
}

/** A request to an app, as its caller sent it. */
export interface UseRequest {
  method: string;
  /** Without the query. */
  path: string;
  /** With its question mark; empty without a query. */
  query: string;
  /** Names and values in turn. */
  headers: readonly string[];
  body?: Readable | undefined;
  /** How long the caller waits if the rate budget of the connection is spent, in seconds. Default: not at all. */
  waitSeconds?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Authenticates the credential of the caller again; throws if it is no longer valid. */
  authenticateAgain: () => Promise<Caller>;
}

/** The response of an app, without what is not for the caller. */
export interface UseResponse {
  /** Returns where the request was sent: references in headers can be relative to it. */
  getUrl(): URL;
  status: number;
  headers: readonly Header[];
  /** Fails with an `OutboundError`. It has to be read to its end or destroyed. */
  body: Readable;
  transferred: Readonly<TransferredBytes>;
  opened: OpenedConnection;
  /** Aborts while the body is read if the request is no longer allowed. */
  watch: PermissionWatch;
}

const methods: ReadonlySet<string> = new Set(useMethods);
const readingMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Sends a request to the app of a connection, with the credentials of the connection, if its use policy allows it. Ends it
 * if it is no longer allowed while it runs.
 *
 * @throws AppError `FORBIDDEN`, `USE_DENIED`, `NOT_FOUND`, `BAD_USER_INPUT` (an ambiguous path), `RATE_LIMITED`, the code with which
 *   the app rejected the credentials, `HOST_NOT_ALLOWED`, `UPSTREAM_RATE_LIMITED` (the rate budget is spent),
 *   `UPSTREAM_UNREACHABLE`
 */
export function useConnection(
  deps: ConnectionDeps,
  caller: Caller,
  target: UseTarget,
  request: UseRequest,
): Promise<UseResponse> {
  return withUsageCount(deps.usage, caller, target.id, request.signal, () =>
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
  const isWrite = !readingMethods.has(request.method);
  if (isWrite) await deps.limits.checkChange(caller);
  const watch = watchPermission(deps, target, { opened, path }, request);
  if (!isWrite) {
    countRead(deps, caller, opened);
    return send(deps, caller, { opened, path, watch }, request);
  }
  const write = { method: request.method, path, query: request.query };
  const response = await send(deps, caller, { opened, path, watch }, request).catch(
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
  assertNotRejected(opened);
  return opened;
}

/** Watches whether a request that is sent is still allowed. That it no longer is, is audited. */
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
      if (current.credentialsHash !== connection.credentialsHash)
        throw new AppError('VERSION_CONFLICT', 'The credentials of the connection were replaced.');
    });
  });
}

function maySee(caller: Caller, { connection: { id, projectId } }: OpenedConnection): boolean {
  return caller.maySeeConnection({ id, projectId: projectId ?? null });
}

/** @throws AppError with the code of the last verification, if it rejected the credentials */
function assertNotRejected({ connection, app }: OpenedConnection): void {
  if (connection.verificationStatus !== 'REJECTED') return;
  const { verificationCode, verificationMessage } = connection;
  throw new AppError(
    verificationCode ?? 'CREDENTIALS_REJECTED',
    `Nothing was sent to ${app.name}, because the credentials of the connection do not work. ${verificationMessage ?? ''}`.trim(),
    { remedy: 'Update the credentials of the connection, or verify it again if they work now.' },
  );
}

async function send(
  deps: ConnectionDeps,
  caller: Caller,
  { opened, path, watch }: { opened: OpenedConnection; path: string; watch: PermissionWatch },
  { method, query, headers, body, waitSeconds, signal }: UseRequest,
): Promise<UseResponse> {
  const { app, use, origin, credentials, mask } = opened;
  const confirm = (beginning: string) => {
    if (!use.rejection.isConfirmedBy(beginning)) return;
    confirmRejection(deps, caller, opened).catch((error: unknown) => {
      deps.log.warn({ error: safeErrorFields(error) }, 'rejected credentials could not be checked');
    });
  };
  try {
    const isRepeatable = (method === 'GET' || method === 'HEAD') && body === undefined;
    const signals = [signal, watch.signal];
    const budgeted = { path, isRepeatable, waitSeconds, signals };
    const response = await sendWithinBudget(deps, caller, opened, budgeted, () =>
      unmeteredOutbound(deps, caller).forward(origin, {
        method,
        path: path + query,
        headers: toAppHeaders(headers, use.authorize(credentials), body !== undefined),
        body,
        signals,
        createTransform: (status) =>
          status === use.rejection.status ? new RejectionReader(mask.stream(), confirm) : mask.stream(),
      }),
    );
    response.body.once('close', () => watch[Symbol.dispose]());
    if (method === 'HEAD' || isReadable(response)) {
      const getUrl = () => new URL(`${opened.origin.origin}${path}${query}`);
      return { ...response, getUrl, headers: toCallerHeaders(response.headers, mask), opened, watch };
    }
    response.body.destroy();
    throw new AppError(
      'UPSTREAM_UNREACHABLE',
      `${app.name} compressed its response although it was asked not to, so that this server cannot remove secrets from it.`,
      { remedy: 'Turn off compression in whatever is between this server and the app.' },
    );
  } catch (error) {
    watch[Symbol.dispose]();
    watch.assertNotEnded();
    if (error instanceof OutboundError) throw toAppError(error, app.name, method);
    throw error;
  }
}

/** Whether secrets would be found in the body. */
function isReadable({ headers }: StreamedResponse): boolean {
  const codings = [headers['content-encoding'], headers['transfer-encoding']].flat();
  return codings.every((coding = '') => ['', 'identity', 'chunked'].includes(coding.trim().toLowerCase()));
}

function toAppError(error: OutboundError, app: string, method: string): AppError {
  if (error.reason === 'REQUEST_TOO_LARGE') {
    return new HttpError(413, 'BAD_USER_INPUT', `The body was not sent to ${app}: ${error.message}.`, {
      headers: { connection: 'close' },
      remedy: 'Send less, or ask the operator to raise PROXY_MAX_REQUEST_BYTES.',
    });
  }
  const refused = hostNotAllowedError(error);
  if (refused) return new AppError(refused.code, refused.message, { remedy: refused.remedy });
  return (
    ownOutboundError(error, app) ??
    new AppError('UPSTREAM_UNREACHABLE', `${app} did not answer: ${error.message}.`, {
      remedy: readingMethods.has(method)
        ? 'Send the request again.'
        : `Find out whether ${app} has done it before you send the request again.`,
    })
  );
}
