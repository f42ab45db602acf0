import { hostNotAllowedError, ownOutboundError } from '../../apps/map-outbound-error.ts';
import { type AppRequestTarget, type Authorization, AuthorizationError } from '../../apps/use.ts';
import { AppError, HttpError } from '../../common/errors.ts';
import { safeErrorFields } from '../../common/log.ts';
import type { Caller } from '../../identity/caller.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import type { StreamedResponse } from '../../outbound/streamed-response.ts';
import { type ConnectionDeps, unmeteredOutbound } from '../deps.ts';
import { confirmRejection } from './confirm-rejection.ts';
import { getMask, type OpenedConnection } from './opened-connections.ts';
import type { PermissionWatch } from './permission-watch.ts';
import { RejectionReader } from './rejection-reader.ts';
import { RepeatableBody } from './repeatable-body.ts';
import { toAppHeaders } from './request-headers.ts';
import { toCallerHeaders } from './response-headers.ts';
import { sendWithinBudget } from './send-within-budget.ts';
import type { UseRequest, UseResponse } from './use-request.ts';

/** A request that is allowed. `path`: normalised. */
export interface AllowedRequest {
  opened: OpenedConnection;
  path: string;
  watch: PermissionWatch;
}

const readingMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Whether requests with this method change nothing. */
export function isReadingMethod(method: string): boolean {
  return readingMethods.has(method);
}

/**
 * Sends a request that is allowed, with the credentials of the connection and within its rate budget.
 *
 * @throws AppError `HOST_NOT_ALLOWED`, `UPSTREAM_RATE_LIMITED`, `UPSTREAM_UNREACHABLE`, the code with which the app rejected the
 *   credentials, or why the request is no longer allowed
 */
export async function sendRequest(
  deps: ConnectionDeps,
  caller: Caller,
  { opened, path, watch }: AllowedRequest,
  { method, query, headers, body, waitSeconds, signal }: UseRequest,
): Promise<UseResponse> {
  const { app, use, origin, authorizer } = opened;
  const target = new Target(method, `${origin.origin}${path}${query}`);
  const outbound = unmeteredOutbound(deps, caller);
  const repeatable = body && authorizer.observe && new RepeatableBody(body);
  const checkRejection = () => {
    confirmRejection(deps, caller, opened).catch((error: unknown) => {
      deps.log.warn({ error: safeErrorFields(error) }, 'rejected credentials could not be checked');
    });
  };
  let authorization: Authorization = { headers: {} };
  /** The beginning of the last response, if it looks like a rejection. */
  let beginning: Promise<string> | undefined;
  const forward = async (attempt: Parameters<Parameters<typeof sendWithinBudget>[4]>[0]) => {
    authorization = await authorizer.authorize(target, outbound);
    const mask = getMask(opened, authorization);
    const rejection = Promise.withResolvers<string>();
    beginning = rejection.promise;
    return outbound.forward(origin, {
      method,
      path: path + query,
      headers: toAppHeaders(headers, authorization.headers, body !== undefined),
      body: repeatable?.open() ?? body,
      ...attempt,
      createTransform: (status) =>
        status === use.rejection.status
          ? new RejectionReader(mask.stream(), rejection.resolve)
          : mask.stream(),
    });
  };
  try {
    const budgeted = {
      path,
      isRepeatable: (method === 'GET' || method === 'HEAD') && body === undefined,
      isUnauthorized: (response: StreamedResponse) =>
        authorizer.observe?.(authorization, response) === true && (!repeatable || repeatable.isRepeatable),
      ...{ waitSeconds, caller: signal, permission: watch.signal },
    };
    const response = await sendWithinBudget(deps, caller, opened, budgeted, forward);
    repeatable?.release();
    // A response that was answered with another attempt says nothing about the credentials.
    beginning?.then((text) => use.rejection.isConfirmedBy(text) && checkRejection());
    response.body.onClose(() => watch[Symbol.dispose]());
    const mask = getMask(opened, authorization);
    if (method === 'HEAD' || isReadable(response)) {
      const getUrl = () => target.url;
      return { ...response, getUrl, headers: toCallerHeaders(response.headers, mask), opened, mask, watch };
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
    if (error instanceof AuthorizationError) {
      if (error.result.status === 'REJECTED') checkRejection();
      throw toAuthorizationFailure(error, app.name);
    }
    if (error instanceof OutboundError) throw toAppError(error, app.name, method);
    throw error;
  }
}

/** A request to the app. Most need no parsed URL. */
class Target implements AppRequestTarget {
  readonly method: string;
  readonly #text: string;
  #url: URL | undefined;

  constructor(method: string, url: string) {
    this.method = method;
    this.#text = url;
  }

  get url(): URL {
    this.#url ??= new URL(this.#text);
    return this.#url;
  }
}

/** Whether secrets would be found in the body. */
function isReadable({ headers }: StreamedResponse): boolean {
  const codings = [headers['content-encoding'], headers['transfer-encoding']].flat();
  return codings.every((coding = '') => ['', 'identity', 'chunked'].includes(coding.trim().toLowerCase()));
}

function toAuthorizationFailure({ result }: AuthorizationError, app: string): AppError {
  const { code, message, remedy, retryAt } = result;
  return new AppError(code, `The request was not sent to ${app}. ${message}`, {
    remedy,
    ...(retryAt && { retryAt }),
  });
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
