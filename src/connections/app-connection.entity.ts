import { defineEntity, p } from '@mikro-orm/core';
import type { VerificationDetails } from '../apps/credentials.ts';
import type { KeyRegistrationFailure, PublicKey } from '../apps/managed-keys.ts';
import type { UseRule } from '../apps/use.ts';
import type { ErrorCode } from '../common/errors.ts';
import { tenantIsolated } from '../database/row-level-security.ts';
import { DataKey } from '../encryption/data-key.entity.ts';
import { authenticateRows } from '../encryption/row-macs.ts';
import { Organisation, Project } from '../identity/organisation.entity.ts';
import type { ConnectionOwner, Tag } from './annotations.ts';
import { indexes, nameIndexes } from './app-connection-indexes.ts';

/** The results of verifying credentials with the app. `PENDING`: the app does not know a key of this server yet. */
export const verificationStatuses = ['VERIFIED', 'REJECTED', 'UNREACHABLE', 'PENDING'] as const;

/** The result of the last verification. */
export type VerificationStatus = (typeof verificationStatuses)[number];

/**
 * Why the credentials of a connection end. `UNUSED`: the app ends them when they are not used. `OWNER_INACTIVE`: their owner is
 * no longer active. `KEY_AGE`: the key of this server is due for rotation, and nothing rotates it.
 */
export const expiryReasons = ['UNUSED', 'OWNER_INACTIVE', 'KEY_AGE'] as const;

/** Why the credentials of a connection end. */
export type ExpiryReason = (typeof expiryReasons)[number];

/** A use policy as it is stored: a preset by name, or rules. */
export interface StoredUsePolicy {
  /** 2 after the first change, and one more after each. */
  version: number;
  preset?: string;
  rules?: UseRule[];
}

/**
 * The states of a key of a connection. `PENDING`: published, and not used yet. `ACTIVE`: used. `RETIRED`: no longer used, and
 * published until the app has forgotten it.
 */
export const connectionKeyStates = ['PENDING', 'ACTIVE', 'RETIRED'] as const;

/** A key of a connection, as it is stored: without the private part. Times are in RFC 3339. */
export interface ConnectionKey extends PublicKey {
  createdAt: string;
  state: (typeof connectionKeyStates)[number];
  retiredAt?: string;
}

/** Why a check that was due was postponed, as it is stored. */
export interface CheckDelay {
  /** When the check was due, in RFC 3339. */
  since: string;
  code: ErrorCode;
  message: string;
}

/** Why the last attempt to add or remove keys at the app failed, as it is stored. */
export interface StoredKeyFailure extends KeyRegistrationFailure {
  /** When it was first found, in RFC 3339. */
  since: string;
}

/**
 * A conversion to another method, or to keys of this server, that waits until the app accepts the new credentials. Its secrets are
 * encrypted with the credentials in use.
 */
export interface PendingConversion {
  /** The id of the method. */
  method: string;
  /** The public credentials, without the URL, which stays that of the connection. */
  publicCredentials: Readonly<Record<string, string>>;
  keys: ConnectionKey[];
  /** In RFC 3339. */
  startedAt: string;
  /** Whether the credentials that it replaces are revoked. */
  revokeOldToken?: boolean;
}

/** Replaced credentials that this server revokes at the app. Their secrets are encrypted together with those in use. */
export interface PendingRevocation {
  id: string;
  /** The id of their method. */
  method: string;
  publicCredentials: Readonly<Record<string, string>>;
  /** In RFC 3339. */
  requestedAt: string;
  /** The ids of keys of this server that are removed with them at the app. Absent: they are revoked. */
  keyIds?: string[];
}

/** The last verification of a pending conversion, which the app has not accepted yet. */
export interface ConversionVerification {
  status: Extract<VerificationStatus, 'REJECTED' | 'UNREACHABLE'>;
  /** In RFC 3339, as `failingSince`. */
  checkedAt: string;
  failingSince: string;
  code: ErrorCode;
  message: string;
  remedy: string;
  upstreamRequestId: string | null;
}

const AppConnectionSchema = defineEntity({
  name: 'AppConnection',
  tableName: 'app_connection',
  ...tenantIsolated('app_connection'),
  properties: {
    id: p.uuid().primary(),
    orgId: () => p.manyToOne(Organisation).mapToPk().fieldName('org_id'),
    projectId: () => p.manyToOne(Project).mapToPk().fieldName('project_id').nullable().deleteRule('restrict'),
    // The "C" collation gives the same order on every database, whatever its locale.
    name: p.text().collation('C'),
    description: p.text().nullable(),
    /** Sorted by key; null if there are none. A trigger keeps `ConnectionTag` the same. */
    tags: p.json<Tag[]>().nullable(),
    owner: p.json<ConnectionOwner>().nullable(),
    /** Markdown. */
    notes: p.text().nullable(),
    app: p.text(),
    method: p.text(),
    // changeConnection increments it. The ORM would count verifications as changes too.
    version: p.integer().default(1),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    /** Set while the connection is soft-deleted and can be restored. */
    deletedAt: p.datetime(3).nullable(),
    isPlatformManagedCredentials: p.boolean(),
    credentialsHash: p.text(),
    publicCredentials: p.json<Record<string, string>>(),
    /** The public keys, the oldest first; null if the credentials are no key pair. */
    keys: p.json<ConnectionKey[]>().nullable(),
    /** Null if nothing was to change at the app, or if the last attempt succeeded. */
    keyRegistrationFailure: p.json<StoredKeyFailure>().nullable(),
    /** Null if no conversion is pending. */
    conversion: p.json<PendingConversion>().nullable(),
    /** Null until the pending conversion was verified. */
    conversionVerification: p.json<ConversionVerification>().nullable(),
    /** Null if no credentials wait for their revocation. */
    revocations: p.json<PendingRevocation[]>().nullable(),
    /** When the revocation is tried next; null if there is none. */
    revokeAt: p.datetime(3).nullable(),
    /** When the schedule of rotations looks at the keys next, such as to remove a retired one; null: when the active key is old enough, or one is pending. */
    keysDueAt: p.datetime(3).nullable(),
    account: p.json<Record<string, string | null>>().nullable(),
    /** Who may send which requests through the connection; null for the app's first preset. */
    usePolicy: p.json<StoredUsePolicy>().nullable(),
    /** The part of the app's rate limit that may be spent, in percent; null for the default. */
    maxShareOfRateLimit: p.integer().nullable(),
    /** How often it is checked, in hours; 0 for never, null for the default. */
    checkEvery: p.integer().nullable(),
    /** When it is checked next; null until the schedule has a time for it. */
    nextCheckAt: p.datetime(3).nullable(),
    /** Null if the last check that was due was not postponed. */
    checkDelay: p.json<CheckDelay>().nullable(),
    // Lazy and hidden: loaded only where credentials are used, never serialised.
    sealedCredentials: p.text().hidden().lazy(),
    dataKeyId: () => p.manyToOne(DataKey).mapToPk().fieldName('data_key_id'),
    verificationStatus: p.text().$type<VerificationStatus>(),
    /** Since when it has this status; a trigger writes it. Null for connections of earlier versions until it changes. */
    statusSince: p.datetime(3).nullable(),
    /** Null while the status is `PENDING`. */
    verificationCheckedAt: p.datetime(3).nullable(),
    /** When the app last accepted the credentials. */
    lastVerifiedAt: p.datetime(3).nullable(),
    /** Since when every verification has failed; null while the credentials work. */
    failingSince: p.datetime(3).nullable(),
    verificationCode: p.text().$type<ErrorCode>().nullable(),
    verificationMessage: p.text().nullable(),
    verificationRemedy: p.text().nullable(),
    upstreamRequestId: p.text().nullable(),
    /** What the last verification that succeeded has found out about the credentials. */
    verificationDetails: p.json<VerificationDetails>().nullable(),
    /** When the credentials end, if they are not used before; null if it is unknown. */
    expiresAt: p.datetime(3).nullable(),
    expiryReason: p.text().$type<ExpiryReason>().nullable(),
    /** When the next warning of the end is given; null after the last one. */
    expiryWarningAt: p.datetime(3).nullable(),
    // Loaded only where the row is verified, together with the sealed credentials.
    mac: p
      .text()
      .hidden()
      .lazy()
      .onCreate(() => ''),
  },
  uniques: nameIndexes,
  indexes,
});

/** A connection to a third-party product. */
export class AppConnection extends AppConnectionSchema.class {}
AppConnectionSchema.setClass(AppConnection);

const isVerificationResult = 'It is only shown, and each verification writes it.';
authenticateRows(AppConnection, {
  nextCheckAt:
    'Each check writes it. A forged one only moves a check, which uses the columns that the MAC covers.',
  checkDelay: 'It is only shown, and each check writes it.',
  revokeAt:
    'Each attempt writes it. A forged one only moves an attempt, which uses the columns that the MAC covers.',
  keysDueAt:
    'Each attempt writes it. A forged one only moves an attempt, which uses the columns that the MAC covers.',
  keyRegistrationFailure:
    'It is only shown, and each attempt writes it. A forged one only keeps the public parts of retired keys for longer.',
  account: isVerificationResult,
  conversionVerification: isVerificationResult,
  verificationStatus: isVerificationResult,
  statusSince: 'It is only shown, and a trigger writes it.',
  verificationCheckedAt: isVerificationResult,
  lastVerifiedAt: isVerificationResult,
  failingSince: isVerificationResult,
  verificationCode: isVerificationResult,
  verificationMessage: isVerificationResult,
  verificationRemedy: isVerificationResult,
  upstreamRequestId: isVerificationResult,
  verificationDetails: isVerificationResult,
  expiresAt: isVerificationResult,
  expiryReason: isVerificationResult,
  expiryWarningAt: 'Each verification and warning writes it. A forged one only moves a warning.',
});

/** The columns that a list reads if the client selects nothing else; the others double the size of a row. */
export const summaryColumns = [
  ...(['id', 'orgId', 'projectId', 'name', 'description', 'app', 'method', 'version'] as const),
  ...(['createdAt', 'updatedAt', 'credentialsHash', 'publicCredentials'] as const),
  ...(['verificationStatus', 'verificationCheckedAt'] as const),
] as const satisfies readonly (keyof AppConnection)[];
