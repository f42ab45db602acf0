import { z } from 'zod';
import type { App, AuthMethod, FieldValue } from '../apps/app.ts';
import { Secret } from '../common/secret.ts';
import { boundedText } from '../common/text.ts';

/** Names are for people and for URLs alike. */
export const connectionName = boundedText(1_024, {
  noText: 'A connection has to have a name.',
  tooLong: 'A name has at most 64 characters; this text is far longer.',
})
  .trim()
  .min(1, { error: 'Give the connection a name.', abort: true })
  .max(64, { error: (issue) => `A name has at most 64 characters; this one has ${textLength(issue.input)}.` })
  .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, {
    error: 'A name is lower-case letters and digits, with single hyphens between them: my-okta-connection.',
  });

const description = boundedText(2_048, {
  tooLong: 'A description has at most 256 characters; this text is far longer.',
})
  .trim()
  .refine((text) => [...text].length <= 256, {
    error: (issue) => `A description has at most 256 characters; this one has ${textLength(issue.input)}.`,
  })
  // Control characters, broken surrogates, and what makes text read in another order than it is written.
  .refine((text) => text.isWellFormed() && !/[^\P{Cc}\t\n\r]|[\u202a-\u202e\u2066-\u2069]/u.test(text), {
    error: 'A description is plain text, without control characters.',
  })
  .transform((text) => text || null)
  .nullish();

/** Ids as callers write them; what is no UUID must not reach PostgreSQL, which would call it an error of ours. */
export const uuid = z
  .guid({
    error: 'An id is hexadecimal digits in five groups, such as 7ffbb072-2575-495a-b5b0-127f88caef78.',
  })
  .transform((id) => id.toLowerCase());

const projectId = uuid.nullish().transform((id) => id ?? null);

/** What is said to callers of every idempotency key. */
export const idempotencyKeyDescription =
  'A key for this request, such as a random UUID. The same request under the same key is carried out once: a retry ' +
  'within 24 hours returns the first result. A refused request can be sent again.';

/** The name that a caller gives a request, so that repeating it does not do it twice. */
export const idempotencyKey = boundedText(1_024, {
  tooLong: 'An idempotency key has at most 128 characters; this text is far longer.',
}).regex(/^[\x21-\x7e]{1,128}$/, {
  error: 'An idempotency key has 1 to 128 characters out of the visible ASCII ones, without spaces.',
});

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
  idempotencyKey?: string | null | undefined;
}

/** The rules of a connection to be made to this app. */
export function createConnectionSchema(app: App): z.ZodType<CreateConnection> {
  return byMethod(app, {
    name: connectionName,
    description,
    projectId,
    onUnreachable: z.enum(onUnreachable),
    idempotencyKey: idempotencyKey.nullish(),
  });
}

/** Credentials to be judged, checked and normalised. */
export type ValidateCredentials = Pick<CreateConnection, 'method' | 'credentials'>;

/** The rules of credentials that this app is to judge: those of a connection to be made with them. */
export function validateCredentialsSchema(app: App): z.ZodType<ValidateCredentials> {
  return byMethod(app, {});
}

function credentialsSchemas(app: App, method: AuthMethod) {
  const own = Object.entries(method.fields).map(
    ([name, { rule, required }]) => [name, required ? rule : rule.nullish()] as const,
  );
  const others = app.methods.flatMap(({ fields }) =>
    Object.keys(fields).map(
      (name) => [name, z.null({ error: unknownFieldMessage(method) }).optional()] as const,
    ),
  );
  const rules: Record<string, z.ZodType<FieldValue>> = Object.fromEntries([...others, ...own]);
  return { method: z.literal(method.id), credentials: strictObject(rules) };
}

/** What holds for the credentials whichever method they are for. A field that several methods have is the same in each. */
function commonCredentialsSchemas({ methods }: App) {
  const fields = methods.flatMap((method) => Object.entries(method.fields));
  const rules = fields.map(([name, { rule }]) => {
    const isRequired = methods.every((method) => method.fields[name]?.required);
    return [name, isRequired ? rule : rule.nullish()] as const;
  });
  return { method: z.unknown().optional(), credentials: strictObject(Object.fromEntries(rules)) };
}

/** What to say of a field that only another method of the app has. */
export function unknownFieldMessage({ label }: AuthMethod): string {
  return `Leave this out: it is not part of the method “${label}”.`;
}

/** These rules beside those of the method and of its credentials; of an unknown method, those that all methods share. */
function byMethod<Shape extends z.ZodRawShape>(app: App, shape: Shape) {
  const [first, ...others] = app.methods.map((method) =>
    strictObject({ ...shape, ...credentialsSchemas(app, method) }),
  );
  if (!first) throw new TypeError(`The app ${app.id} has no method.`);
  const rule = z
    .discriminatedUnion('method', [first, ...others], {
      error: `${app.name} is not connected by this method.`,
    })
    .superRefine(refuseMisplacedSecrets);
  const common = strictObject({ ...shape, ...commonCredentialsSchemas(app) });
  const isKnown = (input: unknown) => app.methods.some(({ id }) => id === Object(input).method);
  return withAllIssues(rule, (input) => [
    ...misplacedSecrets(input),
    // The rule itself stops at a method that it does not know.
    ...(isKnown(input) ? [] : (common.safeParse(input).error?.issues ?? [])),
  ]);
}

/** An issue as zod has it. */
type InputIssue = Pick<z.core.$ZodIssue, 'path' | 'message'>;

/**
 * A rule of an input beside which others are checked, also where it is broken itself: zod by itself checks what concerns an
 * object as a whole only if nothing is wrong with its members.
 */
function withAllIssues<Rule extends z.ZodType>(
  rule: Rule,
  others: (input: unknown) => readonly InputIssue[],
) {
  return z.preprocess((input, context) => {
    const issues = others(input);
    if (issues.length === 0) return input;
    const all = [...(rule.safeParse(input).error?.issues ?? []), ...issues];
    const byText = new Map(
      all.map(({ path, message }) => [`${path.join('.')} ${message}`, { path, message }]),
    );
    for (const { path, message } of byText.values()) {
      context.addIssue({ code: 'custom', path: [...path], message });
    }
    return z.NEVER;
  }, rule);
}

/** What is to change of a connection: absent leaves as is, null clears what may be empty. */
export interface UpdateConnection {
  /** The version that the caller has seen; absent or null, the last change wins. */
  version?: number | null | undefined;
  /** Never null: the rules see to that. */
  name?: string | null | undefined;
  description?: string | null | undefined;
  /** By field of the method; absent leaves the stored one, and so does null unless the field may be left out. */
  credentials?: Record<string, FieldValue> | null | undefined;
  /** Whether the new host may belong to another organisation of the app. */
  allowDifferentOrganisation?: boolean | null | undefined;
  idempotencyKey?: string | null | undefined;
}

/** The rules of a change of a connection to this app. */
export function updateConnectionSchema(app: App) {
  const rules = app.methods.flatMap((method) => Object.entries(method.fields));
  const flag = app.moving?.flag;
  const rule = strictObject({
    version: z.int().min(1, { error: 'Versions start at 1.' }).nullish(),
    name: connectionName.optional(),
    description,
    credentials: strictObject(
      Object.fromEntries(rules.map(([name, { rule }]) => [name, rule.nullish()])),
    ).nullish(),
    idempotencyKey: idempotencyKey.nullish(),
    ...(flag && { [flag]: z.boolean().nullish() }),
  })
    .superRefine(refuseMisplacedSecrets)
    .transform((input): UpdateConnection => {
      const given: Readonly<Record<string, unknown>> = input;
      return { ...input, allowDifferentOrganisation: flag !== undefined && given[flag] === true };
    });
  return withAllIssues(rule, misplacedSecrets);
}

/**
 * An object with these members only: a misspelt one would be taken for one left out. The message does not say which
 * it is, because that may be a secret.
 */
export function strictObject<T extends z.ZodRawShape>(shape: T) {
  return z.strictObject(shape, {
    error: ({ code }) =>
      code === 'unrecognized_keys'
        ? `There is something here that is not known; what is: ${Object.keys(shape).join(', ') || 'nothing'}.`
        : undefined,
  });
}

function refuseMisplacedSecrets(input: unknown, context: z.RefinementCtx): void {
  for (const issue of misplacedSecrets(input))
    context.addIssue({ ...issue, code: 'custom', path: [...issue.path] });
}

/** What is longer is refused by its own rule, and a search for it in every encoding would take long. */
function isSearchable({ length }: string): boolean {
  return length <= 4_096;
}

/** A secret pasted into a field that is public would be shown to everybody who may read. */
function misplacedSecrets(input: unknown): InputIssue[] {
  const { name, description, credentials } = Object(input);
  const fields = Object.entries(Object(credentials));
  const secrets = fields.flatMap(([, value]) =>
    value instanceof Secret && isSearchable(value.reveal()) ? [value, new Secret(value.reveal().trim())] : [],
  );
  const shown: [string[], unknown][] = [
    [['name'], name],
    [['description'], description],
    ...fields.map(([field, value]): [string[], unknown] => [['credentials', field], value]),
  ];
  const isSecret = (value: unknown) =>
    typeof value === 'string' && isSearchable(value) && secrets.some((secret) => secret.appearsIn(value));
  return shown.flatMap(([path, value]) =>
    isSecret(value) ? [{ path, message: 'This holds the secret, and everybody may read it here.' }] : [],
  );
}

/** A moment that the database can hold. */
export const dateTime = z
  .date()
  .min(new Date('0001-01-01T00:00:00Z'), { error: 'Give a moment of the year 1 or later.' })
  .max(new Date('9999-12-31T23:59:59.999Z'), { error: 'Give a moment of the year 9999 or earlier.' });

/** The largest page, and the rules of asking for one. */
export const pageSize = z
  .int()
  .min(1, { error: 'Ask for at least 1.' })
  .max(100, { error: 'Ask for at most 100, and read on from there.' });

function textLength(input: unknown): number {
  return [...String(input)].length;
}
