import type { z } from 'zod';
import type { OAuth } from '../oauth/oauth.ts';
import type { Outbound } from '../outbound/outbound.ts';
import type {
  Credentials,
  CredentialsForecast,
  Field,
  RevocationResult,
  VerificationDetails,
  VerificationResult,
} from './credentials.ts';
import type { ManagedKeys } from './managed-keys.ts';
import type { AppReads } from './typed-read.ts';
import type { AppRequest, ConnectionUse, UsePreset } from './use.ts';

/** How to verify credentials. All is optional for a method. */
export interface VerifyOptions<Session> {
  /** The session of the connection; absent for credentials that are not those of a connection. */
  session?: Session | undefined;
  /**
   * Whether an access token that the session has already may show that the credentials work. Otherwise the app is asked for another,
   * which proves that it accepts the credentials now. Default: false.
   */
  mayReuseToken?: boolean | undefined;
  /** Whether `findDetails` will be called, so that what it needs can be asked for meanwhile. Default: false. */
  wantsDetails?: boolean | undefined;
}

/**
 * An authentication method of an app.
 *
 * @typeParam Session what it keeps in the memory of this server for each connection, if it keeps anything
 */
export interface AuthMethod<Session = unknown> {
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
  managedKeys?: ManagedKeys<Session>;
  /**
   * Creates what this server keeps in memory for a connection as long as its credentials stay the same, up to the limits of a
   * cache: access tokens, for example. Absent: nothing.
   */
  createSession?(credentials: Credentials): Session;
  /** Verifies the credentials with the app. An outage is a result, not an exception. */
  verify(
    credentials: Credentials,
    outbound: Outbound,
    signal?: AbortSignal,
    options?: VerifyOptions<Session>,
  ): Promise<VerificationResult>;
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
  use?: ConnectionUse<Session>;
}

/** The type of the details of a verification, which also have `warnings`. */
export interface DetailsType {
  /** The GraphQL type without the app's part: `ApiTokenDetails` becomes `OktaApiTokenDetails`. */
  name: string;
  description: string;
  /** The members, of the kinds that `ReadObject` supports. All are nullish. The `title` of an object names its GraphQL type. */
  schema: z.ZodObject;
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

/** Whether new credentials must have a value of a field, with a key of the caller and with one of this server. */
export function isAlwaysRequired({ required, isDeferrable = false }: Field): boolean {
  return required && !isDeferrable;
}

/** Returns the members of a stored `LIST`. */
export function splitList(value: string): string[] {
  return value === '' ? [] : value.split(' ');
}

/** Whether an app has rate limits, so that connections have a share of them. */
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
