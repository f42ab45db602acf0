import type { z } from 'zod';
import type { ErrorCode } from '../common/errors.ts';
import type { Secret } from '../common/secret.ts';
import type { Outbound } from '../outbound/outbound.ts';

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
