import { z } from 'zod';
import { type App, requestIdField } from '../apps/app.ts';
import type { AppConnection } from '../connections/app-connection.entity.ts';
import { toConverted } from '../connections/credentials/conversion.ts';
import { type ConnectionDeps, requireApp } from '../connections/deps.ts';
import { type FieldPaths, isCovered } from '../connections/payload-authorization.ts';
import { credentialsResponse, serializeCredentials } from './credentials-serializers.ts';
import { requestId, verificationOutcome } from './verification-serializers.ts';

/** The schema of a pending conversion. */
export function conversionResponse(app: App) {
  return z
    .object({
      method: z
        .enum(app.methods.map((method) => method.id))
        .meta({ description: 'The id of the new method.' }),
      startedAt: z.iso.datetime().meta({ description: 'The time at which it was started.' }),
      credentials: credentialsResponse(app).partial(),
      verification: z
        .object({
          ...verificationOutcome,
          checkedAt: z.iso
            .datetime()
            .nullable()
            .meta({ description: 'The time of the check; null while the status is `PENDING`.' }),
          ...requestId(app),
        })
        .meta({ description: 'The result of verifying the new credentials.' }),
    })
    .partial()
    .meta({
      description:
        'The pending conversion to other credentials, which replace those in use once the app accepts them. Absent if there is none.',
    });
}

/** Converts the pending conversion of a connection; undefined if there is none. */
export function serializeConversion(deps: ConnectionDeps, connection: AppConnection) {
  const converted = toConverted(deps, connection);
  if (!connection.conversion || !converted) return undefined;
  return {
    method: converted.method,
    startedAt: connection.conversion.startedAt,
    credentials: serializeCredentials(deps, converted),
    verification: {
      status: converted.verificationStatus,
      code: converted.verificationCode ?? null,
      message: converted.verificationMessage ?? null,
      remedy: converted.verificationRemedy ?? null,
      checkedAt: converted.verificationCheckedAt?.toISOString() ?? null,
      [requestIdField(requireApp(deps, connection.app))]: converted.upstreamRequestId ?? null,
    },
  };
}

/**
 * Leaves out what a caller without `connections:read` may not see of a pending conversion.
 *
 * @param fields the members that are visible
 * @returns the member `conversion`, if any of it is visible
 */
export function selectConversion(
  conversion: ReturnType<typeof serializeConversion>,
  fields: FieldPaths,
): { conversion?: object } {
  if (!conversion || !fields.some((field) => field.startsWith('conversion.'))) return {};
  const credentials = Object.entries(conversion.credentials).filter(([name]) =>
    isCovered(fields, `conversion.credentials.${name}`),
  );
  return { conversion: { ...conversion, credentials: Object.fromEntries(credentials) } };
}
