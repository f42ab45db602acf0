import type { z } from 'zod';
import type { ErrorCode } from '../common/errors.ts';
import type { Secret } from '../common/secret.ts';
import type { Outbound } from '../outbound/outbound.ts';

/** The value of a field, once checked. */
export type FieldValue = string | Secret | null | undefined;

/** One part of an app's credentials, described so that a form can be drawn for it. */
export interface Field {
  /** What a form calls it. */
  label: string;
  /** `SECRET` fields are sealed and never come back; the others are public. */
  kind: 'TEXT' | 'URL' | 'SECRET';
  /** Checks and normalises a value that is there. A `SECRET` field takes and gives a `Secret`, the others a string. */
  schema: z.ZodType<FieldValue>;
  /** Whether it may not be left out; what may be, need not be said in `rule`. */
  required: boolean;
  placeholder: string;
  /** What it is, for the person who has to fill it in. */
  help: string;
  /** Where in the app to find it. */
  whereToFind: string;
}

/** What a caller gave, checked and normalised, parted into what may be shown and what may not. */
export interface Credentials {
  public: Readonly<Record<string, string>>;
  secret: Readonly<Record<string, Secret>>;
}

/** What the app said when asked whether credentials work. */
export type VerificationResult =
  | {
      status: 'VERIFIED';
      /** Whose credentials they are, by the fields of the app's `account`; null when the app does not say. */
      account: Readonly<Record<string, string | null>> | null;
      /** The app's own id of the request, for its support. */
      upstreamRequestId: string | null;
    }
  | {
      /** `REJECTED`: the app judged them and said no. `UNREACHABLE`: nobody judged them. */
      status: 'REJECTED' | 'UNREACHABLE';
      code: ErrorCode;
      message: string;
      remedy: string;
      retryAt?: Date;
      upstreamRequestId: string | null;
    };

/** A way in which an app lets us in. */
export interface AuthMethod {
  /** Stored in the database and used in REST: `api-token`. GraphQL has it as `API_TOKEN`. */
  id: string;
  label: string;
  description: string;
  /** How to get in the app what has to be filled in, one sentence or two a step; none if there is nothing to say. */
  steps?: readonly string[];
  /** By name. A field that several methods of an app have is the same in each of them. */
  fields: Readonly<Record<string, Field>>;
  /** Asks the app whether the credentials work. An outage is a diagnosis, not an exception. */
  verify(credentials: Credentials, outbound: Outbound, signal?: AbortSignal): Promise<VerificationResult>;
}

/** What an app has to know of the server that it is part of. */
export interface AppSettings {
  /** The `host:port` that may also be http. */
  trustedHosts: Pick<ReadonlySet<string>, 'has'>;
}

/** A third-party product. One folder in `apps/` holds all there is to say about it. */
export interface App {
  /** Stored in the database and used in REST: `okta`. GraphQL has it as `OKTA`, and in names as `typeNameOf` makes it. */
  id: string;
  /** What people call it: `Okta`. */
  name: string;
  description: string;
  /** A drawing of it: the path of an SVG of 24 by 24, filled by the even-odd rule. Absent: its initial has to do. */
  icon?: string;
  methods: readonly AuthMethod[];
  /** For an app with many organisations at hosts of their own: how to tell whether two hosts are one's. */
  tenantChange?: {
    /** The input field that allows a connection to move to another organisation: `allowDifferentOktaOrg`. */
    flag: string;
    description: string;
    /** Whether both are certainly the same organisation; false also when that cannot be found out. */
    isSameOrganisation(
      from: Credentials['public'],
      to: Credentials['public'],
      outbound: Outbound,
    ): Promise<boolean>;
  };
  /** What the app tells about the owner of the credentials. */
  account?: {
    /** The field of the credentials type: `tokenOwner`. */
    field: string;
    /** The GraphQL type: `OktaTokenOwner`. */
    type: string;
    description: string;
    fields: Readonly<Record<string, { description: string; required: boolean }>>;
  };
}

/** The app in the names of types, fields and operations: `acme-cloud` becomes `AcmeCloud`. */
export function appTypeName({ id }: App): string {
  return id.replace(/(?:^|-)(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** The field in which GraphQL has the app's own id of a request: `oktaRequestId`. */
export function requestIdField(app: App): string {
  const name = appTypeName(app);
  return `${name.charAt(0).toLowerCase()}${name.slice(1)}RequestId`;
}
