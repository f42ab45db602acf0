import { z } from 'zod';
import { type App, requestIdField, type VerificationResult } from '../apps/app.ts';
import { type ErrorCode, errorCodes } from '../common/errors.ts';
import { type AppConnection, verificationStatuses } from '../connections/app-connection.entity.ts';
import { readScope } from '../connections/payload-authorization.ts';
import type { Caller } from '../identity/caller.ts';

const timestamp = z.iso.datetime();
const code = z
  .enum(Object.keys(errorCodes) as [ErrorCode, ...ErrorCode[]])
  .nullable()
  .meta({ description: 'The error code; null if the check succeeded.' });
const outcome = {
  status: z.enum(verificationStatuses).meta({ description: 'The result of the check.' }),
  code,
  message: z
    .string()
    .nullable()
    .meta({ description: 'A description of the problem; null if the check succeeded.' }),
  remedy: z.string().nullable().meta({ description: 'What to do next.' }),
};

/** The member with the app's id of the request. */
function requestId(app: App) {
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

/** The schema of the last verification of a connection. */
export function verificationResponse(app: App) {
  const owner = ownerSchema(app);
  return z
    .object({
      ...outcome,
      checkedAt: timestamp.meta({ description: 'The time of the check.' }),
      lastVerifiedAt: timestamp
        .nullable()
        .meta({ description: 'The time at which the app last accepted the credentials.' }),
      failingSince: timestamp.nullable().meta({
        description: 'The time of the first of the checks that have failed since the last success.',
      }),
      ...requestId(app),
      ...(app.account && owner && { [app.account.field]: owner.optional() }),
    })
    .meta({
      description:
        'The result of the last verification. The owner of the credentials needs `connections:read`.',
    });
}

/** The schema of the result of validating credentials. */
export function validationResponse(app: App) {
  const owner = ownerSchema(app);
  return z
    .object({
      ...outcome,
      retryAt: timestamp
        .nullable()
        .meta({ description: 'The time at which the request can be sent again, if it is known.' }),
      ...requestId(app),
      ...(app.account && owner && { [app.account.field]: owner }),
    })
    .meta({ description: `The result of verifying credentials with ${app.name}.` });
}

/** Converts a connection to `verificationResponse`. */
export function serializeVerification(app: App, caller: Caller, connection: AppConnection) {
  const { account } = app;
  return {
    status: connection.verificationStatus,
    code: connection.verificationCode ?? null,
    message: connection.verificationMessage ?? null,
    remedy: connection.verificationRemedy ?? null,
    checkedAt: connection.verificationCheckedAt.toISOString(),
    lastVerifiedAt: connection.lastVerifiedAt?.toISOString() ?? null,
    failingSince: connection.failingSince?.toISOString() ?? null,
    [requestIdField(app)]: connection.upstreamRequestId ?? null,
    ...(account && caller.scopes.has(readScope) && { [account.field]: connection.account ?? null }),
  };
}

/** Converts a result to `validationResponse`. */
export function serializeValidation(app: App, diagnosis: VerificationResult) {
  const failed = diagnosis.status === 'VERIFIED' ? undefined : diagnosis;
  const owner = diagnosis.status === 'VERIFIED' ? diagnosis.account : null;
  return {
    status: diagnosis.status,
    code: failed?.code ?? null,
    message: failed?.message ?? null,
    remedy: failed?.remedy ?? null,
    retryAt: failed?.retryAt?.toISOString() ?? null,
    [requestIdField(app)]: diagnosis.upstreamRequestId,
    ...(app.account && { [app.account.field]: owner }),
  };
}
