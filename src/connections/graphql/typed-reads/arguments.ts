import { z } from 'zod';
import { pathParameters, type ReadPages, type TypedRead } from '../../../apps/typed-read.ts';
import { AppError } from '../../../common/errors.ts';
import type { Builder } from '../../../graphql/builder.ts';
import { capitalise, parseValueType } from '../../../graphql/schema-objects.ts';
import { normalisePath } from '../../use-policy/normalise-path.ts';

/** What the arguments of fields of any type are defined with. */
type ArgBuilder = Pick<
  PothosSchemaTypes.QueryFieldBuilder<Builder['$inferSchemaTypes'], Builder['$inferSchemaTypes']['Root']>,
  'arg'
>;

/** Defines the arguments that a read declares, and the enums among their types. */
export function defineReadArguments(
  builder: Builder,
  prefix: string,
  { path, arguments: declared = {} }: TypedRead,
) {
  const inPath = pathParameters(path);
  const args = Object.entries(declared).map(([name, { schema, description, values }]) => {
    const isRequired = inPath.includes(name);
    const type = values
      ? builder.enumType(`${prefix}${capitalise(name)}`, { description, values: describeValues(values) })
      : parseValueType(schema instanceof z.ZodOptional ? (schema.unwrap() as z.ZodType) : schema);
    const checked = isRequired ? schema.superRefine(checkPathArgument) : schema.nullish();
    return { name, type: type as 'String', isRequired, description, schema: checked };
  });
  return ({ arg }: ArgBuilder) =>
    Object.fromEntries(
      args.map(({ name, type, isRequired, description, schema }) => [
        name,
        arg({ type, required: isRequired, description, validate: { schema: schema as z.ZodType<string> } }),
      ]),
    );
}

function describeValues(values: Readonly<Record<string, string>>) {
  return Object.fromEntries(Object.entries(values).map(([value, description]) => [value, { description }]));
}

/** The arguments of a list. A cursor is checked when the list is read. */
export function defineReadPageArguments({ maxSize }: ReadPages) {
  const first = z
    .int()
    .min(1, { error: 'The page size must be at least 1.' })
    .max(maxSize, { error: `The page size must be at most ${maxSize}. Read more with a cursor.` });
  return ({ arg }: ArgBuilder) => ({
    first: arg.int({
      defaultValue: 20,
      required: true,
      description: `The number of items, 1 to ${maxSize}.`,
      validate: { schema: first },
    }),
    after: arg.string({ description: '`endCursor` of the previous page, with the same other arguments.' }),
  });
}

/** Reports a value that would change the path that it is put into. */
function checkPathArgument(value: unknown, context: z.RefinementCtx): void {
  const text = String(value);
  // `storableTexts` reports it, and it cannot be encoded.
  if (!text.isWellFormed()) return;
  try {
    normalisePath(`/${encodeURIComponent(text)}`);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    context.addIssue({
      code: 'custom',
      message:
        'The value does not fit into a path: it is `.` or `..`, begins or ends with a space, or has a slash or another ' +
        'character that servers read differently. Use the id instead.',
    });
  }
}
