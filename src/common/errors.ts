import type { z } from 'zod';

/**
 * Every way a request can fail, by its stable code.
 *
 * `status` is the HTTP status on REST, `description` is the text in the schema and in docs/api/errors.md, and `remedy`
 * is what that page advises; an error itself may carry a remedy that fits its cause better.
 */
export const errorCodes = {
  BAD_USER_INPUT: {
    status: 422,
    description:
      'The document, its variables or their values break one or more rules. `extensions.issues` lists every one of them.',
    remedy:
      'Correct the fields that `extensions.issues` names and send the request again. Nothing was changed.',
  },
  UNAUTHENTICATED: {
    status: 401,
    description: 'There is no valid API key or token. Send `Authorization: Bearer <API key>`.',
    remedy: 'Send a key or token that is complete, not revoked and not expired.',
  },
  FORBIDDEN: {
    status: 403,
    description:
      'The API key or token is valid but lacks the scope or the project that this operation needs.',
    remedy: 'Use a key that has the scope or the project that the message names.',
  },
  ORGANISATION_DISABLED: {
    status: 403,
    description:
      'The operator of the server has disabled the organisation, or is deleting it. The credential is valid, and nothing was changed.',
    remedy:
      'Ask the operator of the server. Once the organisation is enabled, the same credential works again.',
  },
  USE_DENIED: {
    status: 403,
    description:
      'The use policy of the connection does not allow this method and path. Nothing was sent to the app.',
    remedy:
      'Test requests with `testUsePolicy`, and have the use policy changed by a caller with connections:write.',
  },
  NOT_FOUND: {
    status: 404,
    description: 'The object does not exist, or this caller may not see it.',
    remedy: 'Check the id or the name, and that the key belongs to the right organisation and project.',
  },
  NAME_TAKEN: {
    status: 409,
    description:
      'Another connection in the same project, or another project of the organisation, has this name.',
    remedy: 'Choose another name.',
  },
  VERSION_CONFLICT: {
    status: 409,
    description: 'The connection has changed since you read it. `extensions.currentVersion` has its version.',
    remedy: 'Read the connection again, apply your change to it, and send that version.',
  },
  CONNECTION_IN_USE: {
    status: 409,
    description:
      'The connection was used in the last 7 days, and the operation deletes it or replaces its URL or method. The message says by whom.',
    remedy: 'Tell those who use it, or set `acknowledgeUse` to true.',
  },
  IDEMPOTENCY_CONFLICT: {
    status: 409,
    description: 'The idempotency key was used for a different request.',
    remedy: 'Use a new key for each new request, and repeat a request exactly as it was.',
  },
  LAST_ADMINISTRATOR: {
    status: 409,
    description: 'The operation would leave the organisation without a key that can administer it.',
    remedy: 'First create another key with every scope, no projects and no expiry.',
  },
  CREDENTIALS_REJECTED: {
    status: 422,
    description: 'The app reports that the credentials are invalid, expired or revoked.',
    remedy: 'Create new credentials in the app and send them.',
  },
  CONNECTION_PENDING: {
    status: 409,
    description:
      'The app does not know the key of this connection yet, or the connection has no client id yet, so nothing was sent. The message says what is missing.',
    remedy: 'Do what the message says, verify the connection, and send the request again.',
  },
  INSUFFICIENT_PERMISSIONS: {
    status: 422,
    description: 'The credentials work, but their owner lacks permissions that a connection needs.',
    remedy: 'Give the owner of the token the role that the message names, or use the token of another user.',
  },
  NOT_AN_OKTA_ORG: {
    status: 422,
    description: 'A server answered at the instance URL, but it is not the API of an Okta organisation.',
    remedy: 'Check the instance URL. It is the address at which your users sign in to Okta.',
  },
  UPSTREAM_RATE_LIMITED: {
    status: 503,
    description:
      'The app refuses requests because of its own rate limit, or the part of it that a connection may use is spent. The credentials were neither accepted nor rejected.',
    remedy:
      'Try again at `extensions.retryAt`. A request through a connection can wait with `Prefer: wait=30` or `preferWaitSeconds`.',
  },
  UPSTREAM_UNREACHABLE: {
    status: 503,
    description:
      'The app, the identity provider or the key management service could not be reached or did not work, or too many requests wait for it already. Nothing was accepted or rejected.',
    remedy:
      'Try again later, at `extensions.retryAt` if it is there. The message names the step that failed: name, connection, proxy, certificate, time-out or status.',
  },
  UPSTREAM_INVALID_RESPONSE: {
    status: 502,
    description:
      'The app answered a read with something else than its API promises. The message has the member that is wrong and, with `extensions.upstreamRequestId`, the app’s own id of the request.',
    remedy:
      'Use `executeOktaRequest` or the proxy to see the response. If it is right, report the message to the developers of this server.',
  },
  HOST_NOT_ALLOWED: {
    status: 422,
    description:
      'The instance URL leads to a private, loopback, link-local or otherwise forbidden address, or to a host that this server is not allowed to connect to.',
    remedy:
      'Use the public address of the app, or ask the operator to list the host in `ALLOWED_INSTANCE_HOSTS` or `TRUSTED_INSTANCE_HOSTS`.',
  },
  RATE_LIMITED: {
    status: 429,
    description:
      'The caller sends requests too fast. `extensions.retryAt` has the time at which it may send again.',
    remedy: 'Wait until `extensions.retryAt`, and spread requests over time.',
  },
  PERSISTED_QUERY_NOT_FOUND: {
    status: 404,
    description: 'The server does not know the document of this hash.',
    remedy: 'Send the document beside its hash. Clients with persisted queries do so by themselves.',
  },
  SERVICE_UNAVAILABLE: {
    status: 503,
    description:
      'The database of the server does not answer, does not answer in time, or its disk is full. Unless the message says so, it is not known whether a change was made.',
    remedy: 'Try again later. With an idempotency key, a change is not made twice.',
  },
  INTERNAL_SERVER_ERROR: {
    status: 500,
    description: 'The server failed. `extensions.requestId` finds the cause in its log.',
    remedy: 'Try again. If it happens again, give the request id to the operator.',
  },
} as const satisfies Record<string, { status: number; description: string; remedy: string }>;

/** The stable code of a failure; see `errorCodes`. */
export type ErrorCode = keyof typeof errorCodes;

/** A rule that the input breaks: the path of the field and the remedy. */
export interface Issue {
  path: readonly (string | number)[];
  message: string;
}

/**
 * An error that the caller may read: it contains no secret and repeats no input.
 *
 * Every other thrown value is a fault of the server and reaches the caller as `INTERNAL_SERVER_ERROR`.
 */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  /** The broken rules, if the input is at fault. */
  readonly issues: readonly Issue[] | undefined;
  /** What the caller can do next. */
  readonly remedy: string | undefined;
  /** When to try again, if known. */
  readonly retryAt: Date | undefined;
  /** The current version of the connection, if the caller sent another. */
  readonly currentVersion: number | undefined;
  /** The app's own id of the request, for its support. */
  readonly upstreamRequestId: string | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    details: {
      issues?: readonly Issue[];
      remedy?: string;
      retryAt?: Date;
      currentVersion?: number;
      upstreamRequestId?: string | undefined;
      cause?: unknown;
    } = {},
  ) {
    // The stack of an expected error is never logged, and capturing it is the largest cost of a refusal.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(message, { cause: details.cause });
    Error.stackTraceLimit = stackTraceLimit;
    this.code = code;
    this.issues = details.issues;
    this.remedy = details.remedy;
    this.retryAt = details.retryAt;
    this.currentVersion = details.currentVersion;
    this.upstreamRequestId = details.upstreamRequestId;
  }
}

/** An error of HTTP itself, with its own HTTP status over GraphQL and REST. */
export class HttpError extends AppError {
  readonly status: number;
  /** Response headers, with names in lower case. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: ErrorCode,
    message: string,
    { headers = {}, ...details }: { headers?: Record<string, string>; remedy?: string } = {},
  ) {
    super(code, message, details);
    this.status = status;
    this.headers = headers;
  }
}

/** The server is overloaded and rejected the request before any work. It is not audited, so that rejecting stays cheap. */
export class OverloadedError extends AppError {}

/** Converts the issues of zod to one `BAD_USER_INPUT`. */
export function fromZodError(error: z.ZodError): AppError {
  const issues = error.issues.map(
    (issue): Issue => ({
      path: issue.path.map((part) => (typeof part === 'symbol' ? part.toString() : part)),
      message: issue.message,
    }),
  );
  return validationError(issues);
}

/** Builds a `BAD_USER_INPUT` error. Its message repeats the issues, for clients that show only the message. */
export function validationError(issues: readonly Issue[]): AppError {
  return new AppError(
    'BAD_USER_INPUT',
    issues.map(({ path, message }) => (path.length ? `${path.join('.')}: ${message}` : message)).join(' '),
    { issues, remedy: 'Correct the input and send it again; nothing was changed.' },
  );
}

/** The server cannot start. The operator sees the message as one line. */
export class StartupError extends Error {
  override readonly name = 'StartupError';
}
