import SchemaBuilder from '@pothos/core';
import ZodPlugin from '@pothos/plugin-zod';
import { errorCodes, fromZodError } from '../common/errors.ts';
import type { Secret } from '../common/secret.ts';
import type { Context } from './context.ts';
import { fairFields } from './fair-fields.ts';
import { DateTimeScalar, SecretScalar, UuidScalar } from './scalars.ts';
import { storableTexts } from './storable-texts.ts';

/** What every part of the schema builds with. */
export type Builder = ReturnType<typeof createBuilder>;

/** A builder with the scalars and the types that belong to no room in particular. */
export function createBuilder() {
  const builder = new SchemaBuilder<{
    Context: Context;
    Scalars: {
      UUID: { Input: string; Output: string };
      DateTime: { Input: Date; Output: Date };
      Secret: { Input: Secret; Output: never };
    };
    DefaultFieldNullability: false;
  }>({
    // The first is the outermost: checking takes time too, and the rules tell all that is broken at once, and come before
    // what has no rules.
    plugins: [fairFields, ZodPlugin, storableTexts],
    defaultFieldNullability: false,
    zod: { validationError: fromZodError },
  });

  builder.addScalarType('UUID', UuidScalar, {
    description: 'A UUID, such as 7ffbb072-2575-495a-b5b0-127f88caef78.',
  });
  builder.addScalarType('DateTime', DateTimeScalar, {
    description: 'A time in UTC with milliseconds, in the format of RFC 3339: 2007-12-03T10:15:30.125Z.',
  });
  builder.addScalarType('Secret', SecretScalar);
  builder.queryType({ description: 'The queries.' });
  builder.mutationType({ description: 'The changes.' });
  return builder;
}

/** The values of a GraphQL enum whose names are made from our ids: `api-token` becomes `API_TOKEN`. */
export function enumValues(entries: Iterable<{ id: string; description: string }>) {
  return Object.fromEntries(
    [...entries].map(({ id, description }) => [
      id.toUpperCase().replaceAll(/[-:]/g, '_'),
      { value: id, description },
    ]),
  );
}

/** `enum ErrorCode`, so that clients can generate code that knows every code. */
export function defineErrorCode(builder: Builder) {
  return builder.enumType('ErrorCode', {
    description: 'The values of `extensions.code` of an error.',
    values: Object.fromEntries(
      Object.entries(errorCodes).map(([code, { description }]) => [code, { description }]),
    ) as { [code in keyof typeof errorCodes]: { description: string } },
  });
}
