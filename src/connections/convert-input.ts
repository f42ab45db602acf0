import { z } from 'zod';
import { type App, type AuthMethod, appTypeName, isAlwaysRequired } from '../apps/app.ts';
import type { FieldValue } from '../apps/credentials.ts';
import { strictObject } from '../common/strict-object.ts';
import { findMissingDeferrable } from './deferrable-fields.ts';
import { acknowledgeUse, idempotencyKey, revokeOldToken } from './input-schemas.ts';
import { misplacedSecrets } from './misplaced-secrets.ts';

/** The validated input of converting a connection to the method `App.convertsTo`. */
export interface ConvertConnection {
  /** The credentials of the method by field, without the URL, which stays that of the connection. */
  to: Record<string, FieldValue>;
  /** The version that the client has read. Absent or null: the last change wins. */
  version?: number | null | undefined;
  /** Whether the token that the new credentials replace is revoked at the app. */
  revokeOldToken?: boolean | null | undefined;
  /** Whether the caller knows that the connection is in use. */
  acknowledgeUse?: boolean | null | undefined;
  idempotencyKey?: string | null | undefined;
}

/** Returns the method to which connections to an app can be converted; undefined if there is none. */
export function findConversionMethod({ methods, convertsTo }: App): AuthMethod | undefined {
  return methods.find(({ id }) => id === convertsTo);
}

/** The name of the operation that converts connections to an app, in both APIs. */
export function conversionName(app: App): string {
  return `convert${appTypeName(app)}Connection`;
}

/** Says how to convert a connection to a method. */
export function describeConversion(app: App, { label }: AuthMethod): string {
  return `To convert the connection to the method “${label}”, use ${conversionName(app)}.`;
}

/** Returns the fields of the credentials that a conversion to a method takes. */
export function listConversionFields({ fields }: AuthMethod) {
  return Object.entries(fields).filter(([, { kind }]) => kind !== 'URL');
}

/** The schema of `ConvertConnection.to`. */
export function convertToSchema(method: AuthMethod): z.ZodType<Record<string, FieldValue>> {
  const schemas = listConversionFields(method).map(
    ([name, field]) => [name, isAlwaysRequired(field) ? field.schema : field.schema.nullish()] as const,
  );
  return strictObject(Object.fromEntries(schemas)).superRefine((to, context) => {
    for (const { path, message } of findMissingDeferrable(method, to))
      context.addIssue({ code: 'custom', message, path: [...path] });
    for (const { path, message } of misplacedSecrets({ credentials: to }))
      context.addIssue({ code: 'custom', message, path: path.slice(1) });
  });
}

/** The schema of the version of a conversion. */
export const conversionVersion = z.int().min(1, { error: 'The version must be at least 1.' });

/** The schema of the input of a conversion. */
export function convertConnectionSchema(method: AuthMethod) {
  return strictObject({
    to: convertToSchema(method),
    version: conversionVersion.nullish(),
    revokeOldToken,
    acknowledgeUse,
    idempotencyKey: idempotencyKey.nullish(),
  });
}
