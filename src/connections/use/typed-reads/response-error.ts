import type { AppReads } from '../../../apps/typed-read.ts';
import { AppError } from '../../../common/errors.ts';
import type { ReceivedResponse } from '../execute-request.ts';

/** What is known of a response that could not be read. */
export interface ReadResponse extends ReceivedResponse {
  reads: Pick<AppReads, 'readErrorCode' | 'readRequestId'>;
}

/**
 * Returns the error for a response that is not 200, from its parsed body. Only with an error code of the app, the response is
 * the app's own decision about the request and not, for example, that of a proxy before it.
 */
export function toReadError(response: ReadResponse, body: unknown): AppError {
  const { app, reads, status, rateLimit } = response;
  const appCode = reads.readErrorCode(body);
  const by = appCode === undefined ? `status ${status}` : `${appCode}, status ${status}`;
  const fail = (
    code: ConstructorParameters<typeof AppError>[0],
    message: string,
    remedy: string,
    retryAt?: Date,
  ) =>
    new AppError(code, message, {
      remedy,
      upstreamRequestId: findRequestId(response),
      ...(retryAt && { retryAt }),
    });
  if (status === 429) {
    const remedy = rateLimit
      ? `Try again at ${rateLimit.resetAt.toISOString()}.`
      : 'Try again in a minute, and read less at a time.';
    return fail(
      'UPSTREAM_RATE_LIMITED',
      `${app.name} received too many requests (${by}).`,
      remedy,
      rateLimit?.resetAt,
    );
  }
  if (status >= 500) {
    return fail('UPSTREAM_UNREACHABLE', `${app.name} did not work (${by}).`, 'Try again later.');
  }
  if (appCode !== undefined) {
    if (status === 401) {
      return fail(
        'CREDENTIALS_REJECTED',
        `${app.name} rejected the credentials of the connection (${by}).`,
        'Verify the connection, and update its credentials if they do not work any more.',
      );
    }
    if (status === 403) {
      return fail(
        'INSUFFICIENT_PERMISSIONS',
        `${app.name} does not allow the owner of the credentials to read this (${by}).`,
        'Give the owner of the credentials a role that may read it, or use another connection.',
      );
    }
    if (status === 404) {
      return fail(
        'NOT_FOUND',
        `${app.name} does not have this list (${by}).`,
        'Read the object it belongs to again.',
      );
    }
    if (status === 400) {
      return fail(
        'BAD_USER_INPUT',
        `${app.name} rejected the arguments (${by}).`,
        `Correct the expressions in the arguments, as ${app.name} documents them.`,
      );
    }
  }
  return invalidResponse(response, `it has ${by}`);
}

/** The error for a response that is not what the app promises. `clause` has the reason, without values of the response. */
export function invalidResponse(response: ReadResponse, clause: string, remedy?: string): AppError {
  const { app } = response;
  const requestId = findRequestId(response);
  const id = requestId === undefined ? '' : ` ${app.name}'s id of the request is ${requestId}.`;
  return new AppError(
    'UPSTREAM_INVALID_RESPONSE',
    `The response of ${app.name} is not what its API promises: ${clause}.${id}`,
    {
      remedy:
        remedy ??
        `Send the same request through the proxy to see the response, and ask ${app.name}'s support.`,
      upstreamRequestId: requestId,
    },
  );
}

function findRequestId({ reads, headers }: ReadResponse): string | undefined {
  return reads.readRequestId(Object.fromEntries(headers.map(({ name, value }) => [name, value])));
}
