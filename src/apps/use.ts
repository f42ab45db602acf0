import type { ErrorCode } from '../common/errors.ts';
import type { Secret } from '../common/secret.ts';
import type { Outbound } from '../outbound/outbound.ts';
import type { Credentials, VerificationResult } from './credentials.ts';

/** The use of an app's budget of requests, as a response states it. */
export interface UpstreamRateLimit {
  limit: number;
  remaining: number;
  resetAt: Date;
}

/** A request to the app that is authorized. */
export interface AppRequestTarget {
  method: string;
  url: URL;
}

/** What authorizes one attempt to send a request. */
export interface Authorization {
  /** Names in lower case. */
  headers: Readonly<Record<string, string>>;
  /** A secret in the headers that is not one of the credentials; it is removed from responses as they are. */
  secret?: Secret;
}

/** Authorizes requests with the credentials of one connection. */
export interface Authorizer {
  /**
   * Authorizes one attempt; a repeated request is authorized again.
   *
   * @param outbound for requests that the authorization itself needs
   * @throws AuthorizationError
   */
  authorize(request: AppRequestTarget, outbound: Outbound): Authorization | Promise<Authorization>;
  /** Learns from the response to an attempt. Returns whether the request can succeed if it is authorized again. */
  observe?(
    authorization: Authorization,
    response: { status: number; headers: Readonly<Record<string, string | readonly string[] | undefined>> },
  ): boolean;
}

/** A request could not be authorized, so nothing of it was sent. */
export class AuthorizationError extends Error {
  override readonly name = 'AuthorizationError';
  readonly result: Extract<VerificationResult, { code: ErrorCode }>;

  constructor(result: Extract<VerificationResult, { code: ErrorCode }>) {
    super(result.message);
    this.result = result;
  }
}

/** How callers send requests to the app through a connection, without having its credentials. */
export interface ConnectionUse<Session = unknown> {
  /** The origin to which requests are sent. */
  getOrigin(credentials: Pick<Credentials, 'public'>): URL;
  /** Creates what authorizes the requests of one connection, from what `AuthMethod.createSession` has created. */
  createAuthorizer(credentials: Credentials, session: Session): Authorizer;
  /** The responses with which the app rejects the credentials themselves, and not only the request. */
  rejection: {
    status: number;
    /** @param body the first 4 KiB */
    isConfirmedBy(body: string): boolean;
  };
  /** The members of an error of this server by which the app's own clients show it, as they show the app's errors. */
  describeError?(error: { code: ErrorCode; message: string }): Readonly<Record<string, unknown>>;
  /** The app's rate limits. Absent: requests are sent without a rate budget. */
  rateLimits?: AppRateLimits;
}

/** How an app limits the rate of requests. Its responses state the limit of the bucket in which a request counts. */
export interface AppRateLimits {
  /**
   * The buckets: patterns of paths, in which a segment that begins with a colon matches any segment, as in
   * `/api/v1/users/:user`. All paths that match none share one bucket.
   */
  buckets: readonly string[];
  /** The beginnings of paths that the app does not limit: `/.well-known/`. */
  unlimited?: readonly string[];
  /** The path at which this server asks for access tokens, one in a long time, which counts in no budget. */
  tokenPath?: string;
  /** Reads the limit from the headers of a response; undefined if they have none. */
  read(headers: Readonly<Record<string, string>>): UpstreamRateLimit | undefined;
}

/** A method of requests through connections. */
export type UseMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS';

/** A rule of a use policy, which says which requests callers may send to an app through a connection. */
export interface UseRule {
  effect: 'ALLOW' | 'DENY';
  /** The methods to which it applies; absent for all. GET covers HEAD. */
  methods?: UseMethod[];
  /** A pattern of the path without the query: `/api/v1/users/:id`, or `/api/v1/users/**` for everything below too. */
  path: string;
}

/** A use policy that an app offers by name. */
export interface UsePreset {
  /** Stored in the database: `READ_ONLY`. */
  id: string;
  description: string;
  /** The first rule that matches decides; without one, a request is denied. */
  rules: readonly UseRule[];
}

/** A request that the app documents, to choose from in a form. */
export interface AppRequest {
  method: string;
  /** With the names of its parameters in braces: `/api/v1/users/{id}`. */
  path: string;
  /** A few words: `Retrieve a user`. */
  summary: string;
}
