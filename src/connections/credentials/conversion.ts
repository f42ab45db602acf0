import type { AuthMethod } from '../../apps/app.ts';
import type { Credentials, VerificationResult } from '../../apps/credentials.ts';
import { currentTime } from '../../common/clock.ts';
import type { AppConnection, ConversionVerification } from '../app-connection.entity.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { findUrlField } from './host.ts';
import { getInactiveSecrets, replaceInactiveSecrets } from './inactive-secrets.ts';
import { pendingColumns } from './keys.ts';
import type { StoredCredentials } from './seal.ts';
import { type VerificationColumns, verificationColumns } from './verify.ts';

/** What the names of the inactive secrets of a conversion begin with. */
const prefix = 'conversion.';

/** The columns of a connection without a pending conversion. */
export const noConversion = { conversion: null, conversionVerification: null } as const;

/**
 * Returns a connection as its pending conversion will leave it, with the verification of the new credentials; null if no
 * conversion is pending.
 */
export function toConverted(
  deps: Pick<ConnectionDeps, 'apps'>,
  connection: AppConnection,
): AppConnection | null {
  const { app, conversion, conversionVerification } = connection;
  if (!conversion) return null;
  const { method } = resolveAppAndMethod(deps, { app, method: conversion.method });
  const publicCredentials = { ...getUrl(method, connection), ...conversion.publicCredentials };
  return {
    ...connection,
    ...noConversion,
    method: method.id,
    isPlatformManagedCredentials: true,
    keyRegistrationFailure: null,
    keys: conversion.keys,
    publicCredentials,
    ...(conversionVerification
      ? toColumns(method, conversionVerification)
      : pendingColumns(method, publicCredentials)),
  };
}

/** Returns the URL of a connection by the name of its field: it stays the same in a conversion. */
export function getUrl(
  method: AuthMethod,
  { publicCredentials }: Pick<AppConnection, 'publicCredentials'>,
): Readonly<Record<string, string>> {
  const field = findUrlField(method);
  const url = field === undefined ? undefined : publicCredentials[field];
  return field === undefined || url === undefined ? {} : { [field]: url };
}

function toColumns(method: AuthMethod, verification: ConversionVerification): VerificationColumns {
  const { status, checkedAt, failingSince, code, message, remedy, upstreamRequestId } = verification;
  const result = { status, code, message, remedy, upstreamRequestId };
  const columns = verificationColumns(method, result, new Date(checkedAt));
  return { ...columns, failingSince: new Date(failingSince) };
}

/** Converts the result of verifying the credentials of a pending conversion, which the app has not accepted. */
export function toConversionVerification(
  { status, code, message, remedy, upstreamRequestId }: Exclude<VerificationResult, { status: 'VERIFIED' }>,
  before: ConversionVerification | null | undefined,
): ConversionVerification {
  const checkedAt = currentTime().toISOString();
  const failingSince = before?.failingSince ?? checkedAt;
  return { status, checkedAt, failingSince, code, message, remedy, upstreamRequestId };
}

/** Returns the secrets of the pending conversion by field; an empty object if no conversion is pending. */
export function getConversionSecrets(stored: StoredCredentials): Credentials['secret'] {
  return getInactiveSecrets(stored, prefix);
}

/** Returns the inactive secrets with others for the pending conversion: none if no conversion is pending any more. */
export function replaceConversionSecrets(
  stored: StoredCredentials,
  secrets?: Credentials['secret'],
): NonNullable<StoredCredentials['inactive']> {
  return replaceInactiveSecrets(stored, prefix, secrets);
}
