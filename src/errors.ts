import type { z } from 'zod';

/**
 * Every way a request can fail, by its stable code.
 *
 * `status` is the HTTP status on REST; `description` is what the schema says about the code.
 */
export const errorCodes = {
  BAD_USER_INPUT: {
    status: 422,
    description: 'The input breaks one or more rules. `extensions.issues` lists every one of them.',
  },
  UNAUTHENTICATED: {
    status: 401,
    description: 'There is no valid API key or token. Send `Authorization: Bearer <API key>`.',
  },
  FORBIDDEN: {
    status: 403,
    description: 'The API key or token is valid but lacks the scope or the project that this needs.',
  },
  NOT_FOUND: {
    status: 404,
    description: 'There is no such thing for this caller.',
  },
  NAME_TAKEN: {
    status: 409,
    description: 'Another one in the same place has this name.',
  },
  VERSION_CONFLICT: {
    status: 409,
    description: 'The connection has changed since you read it.',
  },
  IDEMPOTENCY_CONFLICT: {
    status: 409,
    description: 'The idempotency key was used for another request.',
  },
  LAST_ADMINISTRATOR: {
    status: 409,
    description: 'Nobody could administer the organisation any more.',
  },
  CREDENTIALS_REJECTED: {
    status: 422,
    description: 'The app says that the credentials are invalid, expired or revoked.',
  },
  INSUFFICIENT_PERMISSIONS: {
    status: 422,
    description: 'The credentials work, but their owner may not do what a connection needs.',
  },
  NOT_AN_OKTA_ORG: {
    status: 422,
    description: 'Something answered at the instance URL, but it is not the API of an Okta organisation.',
  },
  UPSTREAM_RATE_LIMITED: {
    status: 503,
    description: 'The app asks us to slow down. The credentials were not judged; try again later.',
  },
  UPSTREAM_UNREACHABLE: {
    status: 503,
    description:
      'The app, the identity provider or the key service could not be reached or did not work. Nothing was judged; try again later.',
  },
  HOST_NOT_ALLOWED: {
    status: 422,
    description:
      'The instance URL leads to a private, loopback, link-local or otherwise forbidden address, or is none of the ' +
      'hosts that this server connects to.',
  },
  RATE_LIMITED: {
    status: 429,
    description: 'This caller asks too fast. `extensions.retryAt` says when there is room again.',
  },
  PERSISTED_QUERY_NOT_FOUND: {
    status: 404,
    description: 'This server does not know the document of this hash. Send it beside the hash.',
  },
  SERVICE_UNAVAILABLE: {
    status: 503,
    description: 'Our database does not answer, or not in time. Try again later.',
  },
  INTERNAL_SERVER_ERROR: {
    status: 500,
    description: 'Our fault. `extensions.requestId` finds it in the log.',
  },
} as const satisfies Record<string, { status: number; description: string }>;

/** The stable code of a failure; see `errorCodes`. */
export type ErrorCode = keyof typeof errorCodes;

/** One broken rule: where in the input, and what to do about it. */
export interface Issue {
  path: readonly (string | number)[];
  message: string;
}

/**
 * A failure that the caller may read: nothing in it is secret, and nothing in it repeats what the caller sent.
 *
 * Anything thrown that is not a `Problem` is our fault and reaches the caller as `INTERNAL_SERVER_ERROR`.
 */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly code: ErrorCode;
  /** Broken rules, when the input is at fault. */
  readonly issues: readonly Issue[] | undefined;
  /** What the caller can do next. */
  readonly remedy: string | undefined;
  /** When trying again makes sense, if that is known. */
  readonly retryAt: Date | undefined;
  /** What version the connection is at, when the caller has seen another. */
  readonly currentVersion: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    details: {
      issues?: readonly Issue[];
      remedy?: string;
      retryAt?: Date;
      currentVersion?: number;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: details.cause });
    this.code = code;
    this.issues = details.issues;
    this.remedy = details.remedy;
    this.retryAt = details.retryAt;
    this.currentVersion = details.currentVersion;
  }
}

/** A failure that is about HTTP and so has an HTTP status of its own, over GraphQL as over REST. */
export class HttpProblem extends Problem {
  readonly status: number;
  /** Response headers, by their names in lower case. */
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

/**
 * There was no room for the request, and nothing of it was tried. It leaves no event: who is turned away by the hundred
 * must cost next to nothing.
 */
export class Overload extends Problem {}

/** Every broken rule as one `BAD_USER_INPUT`. */
export function brokenRules(error: z.ZodError): Problem {
  const issues = error.issues.map(
    (issue): Issue => ({
      path: issue.path.map((part) => (typeof part === 'symbol' ? part.toString() : part)),
      message: issue.message,
    }),
  );
  return badInput(issues);
}

/** `BAD_USER_INPUT` with these issues; its message repeats them for those who read nothing else. */
export function badInput(issues: readonly Issue[]): Problem {
  return new Problem(
    'BAD_USER_INPUT',
    issues.map(({ path, message }) => (path.length ? `${path.join('.')}: ${message}` : message)).join(' '),
    { issues, remedy: 'Correct the input and send it again; nothing was changed.' },
  );
}

/** `Retry-After` of HTTP: whole seconds, at least 1. */
export function secondsUntil(time: Date): string {
  return String(Math.max(1, Math.ceil((time.getTime() - Date.now()) / 1_000)));
}

/** The server cannot start. Its message is the one line that the operator sees. */
export class StartError extends Error {
  override readonly name = 'StartError';
}
