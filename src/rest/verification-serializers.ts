import { z } from 'zod';
import { type App, requestIdField } from '../apps/app.ts';
import { errorCodes } from '../common/errors.ts';
import { typedKeys } from '../common/typed-keys.ts';
import { type AppConnection, verificationStatuses } from '../connections/app-connection.entity.ts';
import type { ValidationResult } from '../connections/operations/verify.ts';
import { readScope } from '../connections/payload-authorization.ts';
import type { Caller } from '../identity/caller.ts';

const timestamp = z.iso.datetime();
/** The schema of an error code. */
export const errorCode = z.enum(typedKeys(errorCodes));

const code = errorCode.nullable().meta({ description: 'The error code; null if the check succeeded.' });
/** The members of the result of a verification. */
export const verificationOutcome = {
  status: z.enum(verificationStatuses).meta({ description: 'The result of the check.' }),
  code,
  message: z
    .string()
    .nullable()
    .meta({ description: 'A description of the problem; null if the check succeeded.' }),
  remedy: z.string().nullable().meta({ description: 'What to do next.' }),
};

/** The member with the app's id of the request. */
export function requestId(app: App) {
  const description = `The id that ${app.name} gave the request, for the support of ${app.name}.`;
  return { [requestIdField(app)]: z.string().nullable().meta({ description }) };
}

/** The schema of the owner of the credentials, if the app reports it. */
function ownerSchema(app: App) {
  const { account } = app;
  if (!account) return undefined;
  const fields = Object.entries(account.fields).map(([name, { description, required }]) => {
    const value = required ? z.string() : z.string().nullable();
    return [name, value.meta({ description })] as const;
  });
  return z.object(Object.fromEntries(fields)).nullable().meta({ description: account.description });
}

/** The schema of the details of a verification, if a method of the app has any. */
function detailsSchema(app: App) {
  const [first, ...others] = app.methods.flatMap(({ details }) =>
    details ? [details.schema.extend({ warnings }).meta({ description: details.description })] : [],
  );
  if (!first) return undefined;
  return (others.length > 0 ? z.union([first, ...others]) : first)
    .nullable()
    .meta({ description: 'What the last verification that succeeded found out; null if nothing.' });
}

const warnings = z
  .array(
    z.object({
      message: z.string().meta({ description: 'A description of the problem.' }),
      remedy: z.string().meta({ description: 'What to do about it.' }),
    }),
  )
  .meta({ description: 'What works and needs attention.' });

/** The schema of the last verification of a connection. */
export function verificationResponse(app: App) {
  const owner = ownerSchema(app);
  const details = detailsSchema(app);
  return z
    .object({
      ...verificationOutcome,
      checkedAt: timestamp
        .nullable()
        .meta({ description: 'The time of the check; null while the status is `PENDING`.' }),
      lastVerifiedAt: timestamp
        .nullable()
        .meta({ description: 'The time at which the app last accepted the credentials.' }),
      failingSince: timestamp.nullable().meta({
        description: 'The time of the first of the checks that have failed since the last success.',
      }),
      ...requestId(app),
      ...(app.account && owner && { [app.account.field]: owner.optional() }),
      ...(details && { details: details.optional() }),
    })
    .meta({
      description:
        'The result of the last verification. The owner of the credentials and the details need `connections:read`.',
    });
}

/** The schema of the result of validating credentials. */
export function validationResponse(app: App) {
  const owner = ownerSchema(app);
  const details = detailsSchema(app);
  return z
    .object({
      ...verificationOutcome,
      retryAt: timestamp
        .nullable()
        .meta({ description: 'The time at which the request can be sent again, if it is known.' }),
      ...requestId(app),
      ...(app.account && owner && { [app.account.field]: owner }),
      ...(details && { details }),
    })
    .meta({ description: `The result of verifying credentials with ${app.name}.` });
}

/** Converts a connection to `verificationResponse`. */
export function serializeVerification(app: App, caller: Caller, connection: AppConnection) {
  const { account } = app;
  const isReader = caller.scopes.has(readScope);
  return {
    status: connection.verificationStatus,
    code: connection.verificationCode ?? null,
    message: connection.verificationMessage ?? null,
    remedy: connection.verificationRemedy ?? null,
    checkedAt: connection.verificationCheckedAt?.toISOString() ?? null,
    lastVerifiedAt: connection.lastVerifiedAt?.toISOString() ?? null,
    failingSince: connection.failingSince?.toISOString() ?? null,
    [requestIdField(app)]: connection.upstreamRequestId ?? null,
    ...(account && isReader && { [account.field]: connection.account ?? null }),
    ...(hasDetails(app) && isReader && { details: connection.verificationDetails ?? null }),
  };
}

/** Converts a result to `validationResponse`. */
export function serializeValidation(app: App, diagnosis: ValidationResult) {
  const unverified = diagnosis.status === 'VERIFIED' ? undefined : diagnosis;
  const failed = unverified?.status === 'PENDING' ? undefined : unverified;
  const owner = diagnosis.status === 'VERIFIED' ? diagnosis.account : null;
  return {
    status: diagnosis.status,
    code: failed?.code ?? null,
    message: unverified?.message ?? null,
    remedy: unverified?.remedy ?? null,
    retryAt: failed?.retryAt?.toISOString() ?? null,
    [requestIdField(app)]: diagnosis.upstreamRequestId,
    ...(app.account && { [app.account.field]: owner }),
    ...(hasDetails(app) && { details: (diagnosis.status === 'VERIFIED' && diagnosis.details) || null }),
  };
}

function hasDetails({ methods }: App): boolean {
  return methods.some(({ details }) => details);
}
