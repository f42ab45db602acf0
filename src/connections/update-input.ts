import { z } from 'zod';
import { type App, hasRateLimits } from '../apps/app.ts';
import type { FieldValue } from '../apps/credentials.ts';
import { strictObject } from '../common/strict-object.ts';
import { type Annotations, annotationSchemas } from './annotations.ts';
import { maxCheckEvery } from './check-interval.ts';
import {
  acknowledgeUse,
  connectionName,
  description,
  hasRevocableTokens,
  idempotencyKey,
  revokeOldToken,
  withAllIssues,
} from './input-schemas.ts';
import { misplacedSecrets, refuseMisplacedSecrets } from './misplaced-secrets.ts';

const shareRule = { error: 'The share of the rate limits must be a whole number from 1 to 100, in percent.' };
const everyRule = {
  error: `The interval of checks must be a whole number of hours from 1 to ${maxCheckEvery}, or 0 for no checks.`,
};
const checkEvery = z.int(everyRule).min(0, everyRule).max(maxCheckEvery, everyRule).nullish();

const maxShareOfRateLimit = z.int(shareRule).min(1, shareRule).max(100, shareRule).nullish();

/** The validated input of an update. An absent field stays the same; null clears an optional field. */
export interface UpdateConnection extends Annotations {
  /** The version that the client has read. Absent or null: the last change wins. */
  version?: number | null | undefined;
  /** Never null: the schema rejects it. */
  name?: string | null | undefined;
  description?: string | null | undefined;
  /** By field of the method. An absent field stays the same; null clears an optional field. */
  credentials?: Record<string, FieldValue> | null | undefined;
  /** The part of the app's rate limits that may be used, in percent; null for the default. */
  maxShareOfRateLimit?: number | null | undefined;
  /** How often the credentials are checked, in hours; 0 for never, null for the default. */
  checkEvery?: number | null | undefined;
  /** Whether the token that another one replaces is revoked at the app. */
  revokeOldToken?: boolean | null | undefined;
  /** Whether the caller knows that the connection is in use. */
  acknowledgeUse?: boolean | null | undefined;
  /** Whether the new host may belong to another organisation of the app. */
  allowDifferentOrganisation?: boolean | null | undefined;
  idempotencyKey?: string | null | undefined;
}

/** The schema of the input of updating a connection to an app. */
export function updateConnectionSchema(app: App) {
  const fields = app.methods.flatMap((method) => Object.entries(method.fields));
  const flag = app.tenantChange?.flag;
  const schema = strictObject({
    version: z.int().min(1, { error: 'The version must be at least 1.' }).nullish(),
    name: connectionName.optional(),
    description,
    credentials: strictObject(
      Object.fromEntries(fields.map(([name, { schema }]) => [name, schema.nullish()])),
    ).nullish(),
    ...annotationSchemas,
    ...(hasRateLimits(app) && { maxShareOfRateLimit }),
    checkEvery,
    ...(hasRevocableTokens(app) && { revokeOldToken }),
    acknowledgeUse,
    idempotencyKey: idempotencyKey.nullish(),
    ...(flag && { [flag]: z.boolean().nullish() }),
  })
    .superRefine(refuseMisplacedSecrets)
    .transform((input): UpdateConnection => {
      const values: Readonly<Record<string, unknown>> = input;
      const { maxShareOfRateLimit: share, revokeOldToken } = values as Pick<
        UpdateConnection,
        'maxShareOfRateLimit' | 'revokeOldToken'
      >;
      return {
        ...input,
        maxShareOfRateLimit: share,
        revokeOldToken,
        allowDifferentOrganisation: flag !== undefined && values[flag] === true,
      };
    });
  return withAllIssues(schema, misplacedSecrets);
}
