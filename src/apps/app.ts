import type { z } from 'zod';
import type { ErrorCode } from '../common/errors.ts';
import type { Secret } from '../common/secret.ts';
import type { OAuth } from '../oauth/oauth.ts';
import type { Outbound } from '../outbound/outbound.ts';
import type { AppReads } from './typed-read.ts';

/** The validated value of a field. That of a `LIST` is one text: its members, sorted, with spaces between them. */
export type FieldValue = string | Secret | null | undefined;

/** A field of an app's credentials, with what a form needs to show it. */
export interface Field {
  /** The label in forms. */
  label: string;
  /** `SECRET` fields are encrypted and never returned; the others are public. A `LIST` has several texts without spaces. */
  kind: 'TEXT' | 'LIST' | 'URL' | 'SECRET';
  /**
   * Validates and normalises a present value: a `Secret` for a `SECRET` field, an array of strings for a `LIST`, otherwise a
   * string.
   */
  schema: z.ZodType<FieldValue>;
  /** Whether the field must have a value. If not, `schema` is not called for an absent value. */
  required: boolean;
  /**
   * Whether a required `TEXT` field of a method with managed keys can be given later: a connection with a key of this server can
   * be created without it, and the person with a setup link gives it.
   */
  isDeferrable?: boolean;
  placeholder: string;
  /** Describes the value to the person who fills in the form. */
  help: string;
  /** Where the app shows the value. */
  whereToFind: string;
}

/** Validated credentials, split into public fields and secrets. */
export interface Credentials {
  public: Readonly<Record<string, string>>;
  secret: Readonly<Record<string, Secret>>;
}

/** Something that works and needs attention, with what to do about it. Whole sentences. */
export interface VerificationWarning {
  message: string;
  remedy: string;
}

/** What was found out about verified credentials: the members of the method's `details`, as JSON. */
export interface VerificationDetails {
  warnings: readonly VerificationWarning[];
  [member: string]: unknown;
}

/**
 * Asks the app for details of the credentials that it has just accepted. What cannot be found out is null.
 *
 * @param outbound sends no request if that could delay others, and fails for those that take too long
 */
export type DetailsFinder = (outbound: Outbound, signal: AbortSignal) => Promise<VerificationDetails>;

/** The result of verifying credentials with the app. */
export type VerificationResult =
  | {
      status: 'VERIFIED';
      /** The owner of the credentials, with the fields of the app's `account`; null if the app does not return it. */
      account: Readonly<Record<string, string | null>> | null;
      /** The app's request id, for its support. */
      upstreamRequestId: string | null;
      /** Whether it is called, and for how long, is up to the caller; its failure is no failure of the verification. */
      findDetails?: DetailsFinder;
      /** What `findDetails` returned. */
      details?: VerificationDetails | null;
    }
  | {
      /** `REJECTED`: the app rejected the credentials. `UNREACHABLE`: the app did not verify them. */
      status: 'REJECTED' | 'UNREACHABLE';
      code: ErrorCode;
      message: string;
      remedy: string;
      retryAt?: Date;
      upstreamRequestId: string | null;
    };

/** When the app ends credentials that work, as far as it is known. */
export interface CredentialsForecast {
  /** When it ends them if they are not used before. */
  expiresAt: Date;
  /** Whether their owner is no longer active, so that they can end at any time. */
  isOwnerInactive: boolean;
}

/** The result of revoking credentials at the app. */
export type RevocationResult = { isRevoked: true } | { isRevoked: false; code: ErrorCode };

/** The public part of a key pair. */
export interface PublicKey {
  /** Names the key to the app. */
  keyId: string;
  /** The public key as a JWK (RFC 7517), without private members. */
  publicJwk: Readonly<Record<string, string>>;
}

/** A private key that is ready for use, with its public part. */
export interface KeyPair {
  /** The value of the secret field. */
  privateKey: Secret;
  publicKey: PublicKey;
}

/** What changes about the keys that an app keeps. */
export interface KeysToRegister {
  add?: PublicKey;
  /** The ids of keys. */
  remove?: readonly string[];
}

/** Why an app has not added or removed keys, and what to do. Whole sentences, which name the keys. */
export interface KeyRegistrationFailure {
  code: ErrorCode;
  message: string;
  remedy: string;
}

/** `UNSUPPORTED`: the credentials do not allow it, or the app fetches the keys. `FAILED`: it can be tried again. */
export type KeyRegistration =
  | { status: 'DONE' | 'UNSUPPORTED' }
  | ({ status: 'FAILED' } & KeyRegistrationFailure);

/** How a method authenticates with a key pair, which this server can make. Nobody ever sees its private key then. */
export interface ManagedKeys {
  /** The optional `SECRET` field with the private key. If a new connection has no value for it, this server makes the key pair. */
  privateKeyField: string;
  /** The optional public field with the id of a caller's own key, if there is one. */
  keyIdField?: string;
  /** Makes a key pair. */
  generate(): Promise<KeyPair>;
  /**
   * Reads the private key in the credentials.
   *
   * @throws InvalidKeyError if the app cannot use it
   */
  read(credentials: Credentials): Promise<KeyPair>;
  /**
   * Adds and removes keys at the app, which the credentials may be allowed to do. It can be repeated. Absent: only a person can.
   *
   * @param credentials those in use, whose key stays
   * @throws OutboundError if `signal` aborts
   */
  register?(
    credentials: Credentials,
    keys: KeysToRegister,
    outbound: Outbound,
    signal?: AbortSignal,
  ): Promise<KeyRegistration>;
  /** What a connection says until the app knows its key. */
  pending: { message: string; remedy: string };
}

/** A private key that cannot be used. The message says why and what to do, and has no part of the key. */
export class InvalidKeyError extends Error {
  override readonly name = 'InvalidKeyError';
}

/** An authentication method of an app. */
export interface AuthMethod {
  /** Stored in the database and used in REST: `api-token`. GraphQL has it as `API_TOKEN`. */
  id: string;
  label: string;
  description: string;
  /** The steps in the app that lead to the credentials, one or two sentences each. */
  steps?: readonly string[];
  /**
   * The steps in the app for the person with a setup link, whose page shows the public values, the public keys and a button
   * “Check now”. Absent: `steps`.
   */
  setupSteps?: readonly string[];
  /** The fields by name. A field that several methods share is the same in each of them. */
  fields: Readonly<Record<string, Field>>;
  /**
   * Whether the public part of the credentials has a GraphQL type of its own, such as `AcmeServiceAppCredentials`, and not the
   * one that the methods of the app share.
   */
  hasOwnCredentialsType?: boolean;
  /** Absent: the credentials are no key pair. */
  managedKeys?: ManagedKeys;
  /** Verifies the credentials with the app. An outage is a result, not an exception. */
  verify(credentials: Credentials, outbound: Outbound, signal?: AbortSignal): Promise<VerificationResult>;
  /**
   * Revokes the credentials at the app. Those that the app no longer accepts count as revoked. A failure is tried again later.
   * Absent: they cannot be revoked.
   */
  revoke?(credentials: Credentials, outbound: Outbound, signal?: AbortSignal): Promise<RevocationResult>;
  /**
   * Says when the app ends credentials that it has accepted. Absent: it does not end them, as far as is known.
   *
   * @param known `usedAt`: when it has last accepted them; `account` and `details`: those of the last verification
   */
  forecast?(known: {
    usedAt: Date;
    account: Readonly<Record<string, string | null>> | null | undefined;
    details: VerificationDetails | null | undefined;
  }): CredentialsForecast;
  /** What a verification finds out about the credentials beyond its result. Absent: nothing. */
  details?: DetailsType;
  /** Absent: connections with this method are stored and verified, and callers cannot send requests through them. */
  use?: ConnectionUse;
}

/** The type of the details of a verification, which also have `warnings`. */
export interface DetailsType {
  /** The GraphQL type without the app's part: `ApiTokenDetails` becomes `OktaApiTokenDetails`. */
  name: string;
  description: string;
  /** The members, of the kinds that `ReadObject` supports. All are nullish. The `title` of an object names its GraphQL type. */
  schema: z.ZodObject;
}

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
export interface ConnectionUse {
  /** The origin to which requests are sent. */
  getOrigin(credentials: Pick<Credentials, 'public'>): URL;
  /**
   * Creates what authorizes the requests of one connection. It is used as long as the credentials stay the same, up to the
   * limits of a cache.
   */
  createAuthorizer(credentials: Credentials): Authorizer;
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

/** A rule of a use policy, which says which requests callers may send to an app through a connection. */
export interface UseRule {
  effect: 'ALLOW' | 'DENY';
  /** The methods to which it applies; absent for all. GET covers HEAD. */
  methods?: readonly string[];
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

/** The settings of the server that apps need. */
export interface AppSettings {
  /** The `host:port` pairs that may use http. */
  trustedHosts: Pick<ReadonlySet<string>, 'has'>;
  /** Absent in browsers, which neither verify nor use credentials. */
  oauth?: OAuth;
}

/** A third-party product. Its folder in `apps/` has everything about it. */
export interface App {
  /** Stored in the database and used in REST: `okta`. GraphQL has it as `OKTA`, and in names as `appTypeName` formats it. */
  id: string;
  /** The display name: `Okta`. */
  name: string;
  description: string;
  /** The icon: the path of a 24 × 24 SVG, filled with the even-odd rule. Absent: the initial of the name. */
  icon?: string;
  methods: readonly AuthMethod[];
  /** The id of the method of a request that names none. Absent: the only method, or a request has to name one. */
  defaultMethod?: string;
  /**
   * The id of the method to which connections can be converted: those with another method, and those whose keys the other side
   * makes. Absent: none can be converted.
   */
  convertsTo?: string;
  /** The use policies that connections can have by name. The first is that of a new connection. Absent: none can be used. */
  usePresets?: readonly [UsePreset, ...UsePreset[]];
  /** What callers read of the app in GraphQL through a connection, by types. Absent: nothing. */
  reads?: AppReads;
  /** The requests that the dashboard completes while a user types. Others can be sent too. */
  requests?: readonly AppRequest[];
  /** For an app whose organisations have their own hosts: how a connection moves to another organisation. */
  tenantChange?: {
    /** The input field that allows a connection to move to another organisation: `allowDifferentOktaOrg`. */
    flag: string;
    description: string;
    /** Whether both are certainly the same organisation; false if that is unknown. */
    isSameOrganisation(
      from: Credentials['public'],
      to: Credentials['public'],
      outbound: Outbound,
    ): Promise<boolean>;
  };
  /** The owner of the credentials, as the app returns it. */
  account?: {
    /** The field of the credentials type: `tokenOwner`. */
    field: string;
    /** The GraphQL type: `OktaTokenOwner`. */
    type: string;
    description: string;
    fields: Readonly<Record<string, { description: string; required: boolean }>>;
  };
}

/** Returns the id of the method of a request that names none; undefined if a request has to name one. */
export function findDefaultMethod({ defaultMethod, methods: [onlyMethod, anotherMethod] }: App) {
  return defaultMethod ?? (anotherMethod ? undefined : onlyMethod?.id);
}

/** Whether new credentials must have a value of a field, whoever makes the key. */
export function isAlwaysRequired({ required, isDeferrable = false }: Field): boolean {
  return required && !isDeferrable;
}

/** Returns the members of a stored `LIST`. */
export function splitList(value: string): string[] {
  return value === '' ? [] : value.split(' ');
}

/** Whether an app has rate limits of which connections may use a share. */
export function hasRateLimits({ methods }: App): boolean {
  return methods.some(({ use }) => use?.rateLimits);
}

/** Returns the part of an app, or of a method, of names of types, fields and operations: `acme-cloud` becomes `AcmeCloud`. */
export function appTypeName({ id }: Pick<App, 'id'>): string {
  return id.replace(/(?:^|-)(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** Returns the GraphQL field with the app's request id: `oktaRequestId`. */
export function requestIdField(app: App): string {
  const name = appTypeName(app);
  return `${name.charAt(0).toLowerCase()}${name.slice(1)}RequestId`;
}
