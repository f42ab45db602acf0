import type { z } from 'zod';
import type { ErrorCode } from '../common/errors.ts';
import type { Secret } from '../common/secret.ts';
import type { Outbound } from '../outbound/outbound.ts';
import type { AppReads } from './typed-read.ts';

/** The validated value of a field. */
export type FieldValue = string | Secret | null | undefined;

/** A field of an app's credentials, with what a form needs to show it. */
export interface Field {
  /** The label in forms. */
  label: string;
  /** `SECRET` fields are encrypted and never returned; the others are public. */
  kind: 'TEXT' | 'URL' | 'SECRET';
  /** Validates and normalises a present value: a `Secret` for a `SECRET` field, otherwise a string. */
  schema: z.ZodType<FieldValue>;
  /** Whether the field must have a value. If not, `schema` is not called for an absent value. */
  required: boolean;
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

/** The result of verifying credentials with the app. */
export type VerificationResult =
  | {
      status: 'VERIFIED';
      /** The owner of the credentials, with the fields of the app's `account`; null if the app does not return it. */
      account: Readonly<Record<string, string | null>> | null;
      /** The app's request id, for its support. */
      upstreamRequestId: string | null;
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

/** An authentication method of an app. */
export interface AuthMethod {
  /** Stored in the database and used in REST: `api-token`. GraphQL has it as `API_TOKEN`. */
  id: string;
  label: string;
  description: string;
  /** The steps in the app that lead to the credentials, one or two sentences each. */
  steps?: readonly string[];
  /** The fields by name. A field that several methods share is the same in each of them. */
  fields: Readonly<Record<string, Field>>;
  /** Verifies the credentials with the app. An outage is a result, not an exception. */
  verify(credentials: Credentials, outbound: Outbound, signal?: AbortSignal): Promise<VerificationResult>;
  /** Absent: connections with this method are stored and verified, and callers cannot send requests through them. */
  use?: ConnectionUse;
}

/** The use of an app's budget of requests, as a response states it. */
export interface UpstreamRateLimit {
  limit: number;
  remaining: number;
  resetAt: Date;
}

/** How callers send requests to the app through a connection, without having its credentials. */
export interface ConnectionUse {
  /** The origin to which requests are sent. */
  getOrigin(credentials: Pick<Credentials, 'public'>): URL;
  /** The headers that authenticate a request; names in lower case. */
  authorize(credentials: Credentials): Readonly<Record<string, string>>;
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

/** Whether an app has rate limits of which connections may use a share. */
export function hasRateLimits({ methods }: App): boolean {
  return methods.some(({ use }) => use?.rateLimits);
}

/** Returns the app's part of names of types, fields and operations: `acme-cloud` becomes `AcmeCloud`. */
export function appTypeName({ id }: App): string {
  return id.replace(/(?:^|-)(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** Returns the GraphQL field with the app's request id: `oktaRequestId`. */
export function requestIdField(app: App): string {
  const name = appTypeName(app);
  return `${name.charAt(0).toLowerCase()}${name.slice(1)}RequestId`;
}
