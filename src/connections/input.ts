import { z } from 'zod';
import type { App, FieldValue } from '../apps/app.ts';
import { Secret } from '../secrets/secret.ts';

/** Names are for people and for URLs alike. */
export const connectionName = z
  .string({ error: 'A connection has to have a name.' })
  .trim()
  .min(1, { error: 'Give the connection a name.', abort: true })
  .max(64, { error: (issue) => `A name has at most 64 characters; this one has ${lengthOf(issue.input)}.` })
  .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, {
    error: 'A name is lower-case letters and digits, with single hyphens between them: my-okta-connection.',
  });

const description = z
  .string()
  .trim()
  .refine((text) => [...text].length <= 256, {
    error: (issue) => `A description has at most 256 characters; this one has ${lengthOf(issue.input)}.`,
  })
  .refine((text) => text.isWellFormed() && !/[^\P{Cc}\t\n\r]/u.test(text), {
    error: 'A description is plain text, without control characters.',
  })
  .transform((text) => text || null)
  .nullish();

const projectId = z
  .string()
  .nullish()
  .transform((id) => id?.toLowerCase() ?? null);

/** What to do when nobody can be asked whether the credentials work. */
export const onUnreachable = ['FAIL', 'SAVE_UNVERIFIED'] as const;

/** A connection to be made, checked and normalised. */
export interface CreateConnection {
  name: string;
  description?: string | null | undefined;
  /** Absent or null: a connection of the organisation itself. */
  projectId?: string | null | undefined;
  /** The id of one of the app's methods. */
  method: string;
  /** By field of the method: `Secret` for secret fields, text for the others. */
  credentials: Record<string, FieldValue>;
  onUnreachable: (typeof onUnreachable)[number];
}

/** The rules of a connection to be made to this app. */
export function createConnectionRule(app: App): z.ZodType<CreateConnection> {
  const byMethod = app.methods.map((method) =>
    z.object({
      name: connectionName,
      description,
      projectId,
      method: z.literal(method.id),
      credentials: z.object(
        Object.fromEntries(Object.entries(method.fields).map(([name, field]) => [name, field.rule])),
      ),
      onUnreachable: z.enum(onUnreachable),
    }),
  );
  const [first, ...others] = byMethod;
  if (!first) throw new TypeError(`The app ${app.id} has no method.`);
  return z
    .discriminatedUnion('method', [first, ...others], {
      error: `${app.name} is not connected by this method.`,
    })
    .superRefine(refuseMisplacedSecrets);
}

/** What is to change of a connection: absent leaves as is, null clears what may be empty. */
export interface UpdateConnection {
  /** The version that the caller has seen; absent or null, the last change wins. */
  version?: number | null | undefined;
  /** Never null: the rules see to that. */
  name?: string | null | undefined;
  description?: string | null | undefined;
  /** By field of the method; absent or null leaves the stored one. */
  credentials?: Record<string, FieldValue> | null | undefined;
  /** Whether the new host may belong to another organisation of the app. */
  allowDifferentOrganisation?: boolean | undefined;
}

/** The rules of a change of a connection to this app. */
export function updateConnectionRule(app: App) {
  const rules = app.methods.flatMap((method) => Object.entries(method.fields));
  return z
    .object({
      version: z.int().min(1, { error: 'Versions start at 1.' }).nullish(),
      name: connectionName.optional(),
      description,
      credentials: z
        .object(Object.fromEntries(rules.map(([name, { rule }]) => [name, rule.nullish()])))
        .nullish(),
      ...(app.moving && { [app.moving.flag]: z.boolean().nullish() }),
    })
    .superRefine(refuseMisplacedSecrets);
}

/** A secret pasted into a field that is public would be shown to everybody who may read. */
function refuseMisplacedSecrets(
  input: Pick<UpdateConnection, 'name' | 'description' | 'credentials'>,
  context: z.RefinementCtx,
): void {
  const { name, description } = input;
  const credentials = input.credentials ?? {};
  const secrets = Object.values(credentials).filter((value) => value instanceof Secret);
  const shown: [string[], FieldValue][] = [
    [['name'], name],
    [['description'], description],
    ...Object.entries(credentials).map(([field, value]): [string[], FieldValue] => [
      ['credentials', field],
      value,
    ]),
  ];
  for (const [path, value] of shown) {
    if (typeof value === 'string' && secrets.some((secret) => secret.isIn(value))) {
      context.addIssue({
        code: 'custom',
        path,
        message: 'This holds the secret, and everybody may read it here.',
      });
    }
  }
}

/** The largest page, and the rules of asking for one. */
export const pageSize = z
  .int()
  .min(1, { error: 'Ask for at least 1.' })
  .max(100, { error: 'Ask for at most 100; read on with "after".' });

function lengthOf(input: unknown): number {
  return [...String(input)].length;
}
