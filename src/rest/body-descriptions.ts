import type { z } from 'zod';
import type { App } from '../apps/app.ts';
import { annotationDescriptions } from '../connections/annotations.ts';
import { checkEveryDescription } from '../connections/check-interval.ts';
import {
  acknowledgeUseDescription,
  describeRevokeOldToken,
  idempotencyKeyDescription,
} from '../connections/input-schemas.ts';
import { describeMaxShare } from '../connections/rate-budget/max-share.ts';

/** The descriptions of the members of bodies in the OpenAPI document. */
function memberDescriptions(app: App): Readonly<Record<string, string>> {
  const { name, tenantChange } = app;
  return {
    name: 'The name: lower-case letters, digits and single hyphens between them, 1 to 64 characters.',
    description: 'A description for people, at most 256 characters.',
    ...annotationDescriptions,
    projectId: 'The id of the project. Absent: a connection of the organisation itself.',
    method: 'The id of the method of authentication. Can be absent if the app has only one.',
    credentials: `The credentials for ${name}.`,
    to: `The new credentials for ${name}. The URL stays that of the connection.`,
    onUnreachable:
      `What to do if ${name} cannot be asked: return the error (\`FAIL\`), or store the connection with the status ` +
      '`UNREACHABLE` (`SAVE_UNVERIFIED`). Default: `FAIL`.',
    version:
      'The version that you have read. If the connection has another, the request fails with `VERSION_CONFLICT`.',
    maxShareOfRateLimit: `${describeMaxShare({ name })} Null for the default.`,
    checkEvery: `${checkEveryDescription} Null for the default.`,
    idempotencyKey: `${idempotencyKeyDescription} The header \`Idempotency-Key\` is the same.`,
    revokeOldToken: describeRevokeOldToken(app),
    acknowledgeUse: acknowledgeUseDescription,
    ...(tenantChange && { [tenantChange.flag]: tenantChange.description }),
  };
}

/** Adds descriptions to the members of a body that have none, in each of its alternatives. */
export function describeMembers(jsonSchema: z.core.JSONSchema.BaseSchema, app: App): void {
  const descriptions = memberDescriptions(app);
  for (const { properties } of [jsonSchema, ...(jsonSchema.oneOf ?? [])]) {
    for (const [name, member] of Object.entries(properties ?? {})) {
      if (typeof member === 'object') member.description ??= descriptions[name];
    }
  }
}
