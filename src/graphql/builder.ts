import SchemaBuilder from '@pothos/core';
import ZodPlugin from '@pothos/plugin-zod';
import { errorCodes, fromZodError } from '../common/errors.ts';
import type { Secret } from '../common/secret.ts';
import { typedKeys } from '../common/typed-keys.ts';
import type { Context } from './context.ts';
import { fairFields } from './fair-fields.ts';
import { DateTimeScalar, JsonScalar, SecretScalar, UuidScalar } from './scalars.ts';
import { storableTexts } from './storable-texts.ts';

/** The schema builder of this project. */
export type Builder = ReturnType<typeof createBuilder>;

/** Creates a builder with the scalars and the root types. */
export function createBuilder() {
  const builder = new SchemaBuilder<{
    Context: Context;
    Scalars: {
      UUID: { Input: string; Output: string };
      DateTime: { Input: Date; Output: Date };
      Secret: { Input: Secret; Output: never };
      JSON: { Input: never; Output: unknown };
    };
    DefaultFieldNullability: false;
  }>({
    // The first is the outermost. fairFields comes before validation, because validation takes time too. Zod schemas report
    // all issues at once, so they come before storableTexts, which covers arguments without a schema.
    plugins: [fairFields, ZodPlugin, storableTexts],
    defaultFieldNullability: false,
    zod: { validationError: fromZodError },
  });

  builder.addScalarType('UUID', UuidScalar, {
    description: 'A UUID, such as 7ffbb072-2575-495a-b5b0-127f88caef78.',
  });
  builder.addScalarType('DateTime', DateTimeScalar, {
    description: 'A time in UTC with milliseconds (RFC 3339), such as 2007-12-03T10:15:30.125Z.',
  });
  builder.addScalarType('Secret', SecretScalar);
  builder.addScalarType('JSON', JsonScalar);
  builder.queryType({ description: 'The queries.' });
  builder.mutationType({ description: 'The changes.' });
  return builder;
}

/** The values of a GraphQL enum for ids: `api-token` becomes `API_TOKEN`. */
export function enumValues<Id extends string>(entries: Iterable<{ id: Id; description: string }>) {
  return Object.fromEntries(
    [...entries].map(({ id, description }) => [
      id.toUpperCase().replaceAll(/[-:.]/g, '_'),
      { value: id, description },
    ]),
  );
}

/** The values of a GraphQL enum for ids with their descriptions. */
export function describedValues<Id extends string>(descriptions: Readonly<Record<Id, string>>) {
  return enumValues(typedKeys(descriptions).map((id) => ({ id, description: descriptions[id] })));
}

/** Defines `enum ErrorCode`, from which clients can generate types. */
export function defineErrorCode(builder: Builder) {
  return builder.enumType('ErrorCode', {
    description: 'The values of `extensions.code` of an error.',
    values: enumValues(typedKeys(errorCodes).map((id) => ({ id, description: errorCodes[id].description }))),
  });
}
