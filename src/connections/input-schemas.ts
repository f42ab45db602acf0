import { z } from 'zod';
import { type App, type AuthMethod, isAlwaysRequired } from '../apps/app.ts';
import type { FieldValue } from '../apps/credentials.ts';
import { strictObject } from '../common/strict-object.ts';
import { boundedText } from '../common/text.ts';
import { type Annotations, annotationSchemas } from './annotations.ts';
import { findMissingDeferrable } from './deferrable-fields.ts';
import { type InputIssue, misplacedSecrets, refuseMisplacedSecrets } from './misplaced-secrets.ts';

/** The name of a connection, which also appears in URLs. */
export const connectionName = boundedText(1_024, {
  missing: 'The name is required.',
  tooLong: 'The name must have at most 64 characters.',
})
  .trim()
  .min(1, { error: 'The name is required.', abort: true })
  .max(64, { error: (issue) => `The name must have at most 64 characters, not ${textLength(issue.input)}.` })
  .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, {
    error:
      'The name must be lower-case letters and digits with single hyphens between them, such as my-okta-connection.',
  });

/** A description for people. */
export const description = boundedText(2_048, {
  tooLong: 'The description must have at most 256 characters.',
})
  .trim()
  .refine((text) => [...text].length <= 256, {
    error: (issue) => `The description must have at most 256 characters, not ${textLength(issue.input)}.`,
  })
  // No control characters, no unpaired surrogates, and no bidirectional controls, which display text in another order.
  .refine((text) => text.isWellFormed() && !/[^\P{Cc}\t\n\r]|[\u202a-\u202e\u2066-\u2069]/u.test(text), {
    error: 'The description must be plain text without control characters.',
  })
  .transform((text) => text || null)
  .nullish();

/** An id. PostgreSQL reports a malformed UUID as an error, which would be an internal error of this server. */
export const uuid = z
  .guid({
    error: 'The id must be a UUID, such as 7ffbb072-2575-495a-b5b0-127f88caef78.',
  })
  .transform((id) => id.toLowerCase());

const projectId = uuid.nullish().transform((id) => id ?? null);

/** The description of idempotency keys in both APIs. */
export const idempotencyKeyDescription =
  'A key for this request, such as a random UUID. The same request under the same key is carried out once: a retry ' +
  'within 24 hours returns the first result. A refused request can be sent again.';

/** The key that identifies a request when it is repeated. */
export const idempotencyKey = boundedText(1_024, {
  tooLong: 'The idempotency key must have at most 128 characters.',
}).regex(/^[\x21-\x7e]{1,128}$/, {
  error: 'The idempotency key must have 1 to 128 visible ASCII characters and no spaces.',
});

/** The behaviour if the app cannot verify the credentials. */
export const onUnreachable = ['FAIL', 'SAVE_UNVERIFIED'] as const;

/** The validated input of creating a connection. */
export interface CreateConnection extends Annotations {
  name: string;
  description?: string | null | undefined;
  /** Absent or null: a connection of the organisation itself. */
  projectId?: string | null | undefined;
  /** The id of one of the app's methods. */
  method: string;
  /** By field of the method: `Secret` for secret fields, text for the others. See `FieldValue` for lists. */
  credentials: Record<string, FieldValue>;
  onUnreachable: (typeof onUnreachable)[number];
  idempotencyKey?: string | null | undefined;
}

/** The schema of the input of creating a connection to an app. */
export function createConnectionSchema(app: App): z.ZodType<CreateConnection> {
  return byMethod(app, {
    name: connectionName,
    description,
    projectId,
    ...annotationSchemas,
    onUnreachable: z.enum(onUnreachable),
    idempotencyKey: idempotencyKey.nullish(),
  });
}

/** The validated input of validating credentials. */
export type ValidateCredentials = Pick<CreateConnection, 'method' | 'credentials'>;

/** The schema of the input of validating credentials of an app, the same as for a new connection. */
export function validateCredentialsSchema(app: App): z.ZodType<ValidateCredentials> {
  return byMethod(app, {});
}

function credentialsSchemas(app: App, method: AuthMethod) {
  const own = Object.entries(method.fields).map(
    ([name, field]) => [name, isAlwaysRequired(field) ? field.schema : field.schema.nullish()] as const,
  );
  const others = app.methods.flatMap(({ fields }) =>
    Object.keys(fields).map(
      (name) => [name, z.null({ error: unknownFieldMessage(method) }).optional()] as const,
    ),
  );
  const schemas: Record<string, z.ZodType<FieldValue>> = Object.fromEntries([...others, ...own]);
  return { method: z.literal(method.id), credentials: strictObject(schemas) };
}

/** The schema of the credentials for an unknown method. A field that several methods have is the same in each. */
function commonCredentialsSchemas({ methods }: App) {
  const fields = methods.flatMap((method) => Object.entries(method.fields));
  const schemas = fields.map(([name, { schema }]) => {
    const isRequired = methods.every(({ fields }) => fields[name] && isAlwaysRequired(fields[name]));
    return [name, isRequired ? schema : schema.nullish()] as const;
  });
  return { method: z.unknown().optional(), credentials: strictObject(Object.fromEntries(schemas)) };
}

/** The message for a field that belongs to another method of the app. */
export function unknownFieldMessage({ label }: AuthMethod): string {
  return `The method “${label}” has no such field. Remove it.`;
}

/**
 * Adds `method` and `credentials` to a shape: a union of the methods of the app. If the method is unknown, the issues of
 * the fields that all methods share are reported as well.
 */
function byMethod<Shape extends z.ZodRawShape>(app: App, shape: Shape) {
  const [first, ...others] = app.methods.map((method) =>
    strictObject({ ...shape, ...credentialsSchemas(app, method) }),
  );
  if (!first) throw new TypeError(`The app ${app.id} has no method.`);
  const schema = z
    .discriminatedUnion('method', [first, ...others], {
      error: `${app.name} has no such method. Give one of ${app.methods.map(({ id }) => id).join(', ')}.`,
    })
    .superRefine(refuseMisplacedSecrets);
  const common = strictObject({ ...shape, ...commonCredentialsSchemas(app) });
  return withAllIssues(schema, (input) => {
    const { method: id, credentials } = Object(input);
    const method = app.methods.find((each) => each.id === id);
    // The union reports nothing but the method if it does not know it.
    const issues = method
      ? findMissingDeferrable(method, credentials).map((issue) => ({
          ...issue,
          path: ['credentials', ...issue.path],
        }))
      : (common.safeParse(input).error?.issues ?? []);
    return [...misplacedSecrets(input), ...issues];
  });
}

/**
 * Adds issues to those of a schema, also if the input violates the schema itself. zod runs the refinements of an object
 * only if its members are valid.
 */
export function withAllIssues<Schema extends z.ZodType>(
  schema: Schema,
  findMore: (input: unknown) => readonly InputIssue[],
) {
  return z.preprocess((input, context) => {
    const issues = findMore(input);
    if (issues.length === 0) return input;
    const all = [...(schema.safeParse(input).error?.issues ?? []), ...issues];
    const byText = new Map(
      all.map(({ path, message }) => [`${path.join('.')} ${message}`, { path, message }]),
    );
    for (const { path, message } of byText.values()) {
      context.addIssue({ code: 'custom', path: [...path], message });
    }
    return z.NEVER;
  }, schema);
}

/** Whether to revoke the token that another credential replaces. */
export const revokeOldToken = z.boolean().nullish();

/** The description of `revokeOldToken` in both APIs. */
export function describeRevokeOldToken({ name }: App): string {
  return (
    `Whether to revoke the old token at ${name}, which only the token itself can ask for: once the new credentials were verified ` +
    'and stored. It is tried for a day. The audit trail has the outcome as `REVOKE_TOKEN`.'
  );
}

/** Whether the caller knows that the connection is in use. */
export const acknowledgeUse = z.boolean().nullish();

/** The description of `acknowledgeUse` in both APIs. */
export const acknowledgeUseDescription =
  'Whether to go on although the connection was used in the last 7 days. Without it, deleting such a connection, or replacing its ' +
  'URL or method, fails with `CONNECTION_IN_USE`.';

/** Whether a method of an app has tokens that can be revoked. */
export function hasRevocableTokens({ methods }: App): boolean {
  return methods.some(({ revoke }) => revoke);
}

function textLength(input: unknown): number {
  return [...String(input)].length;
}
