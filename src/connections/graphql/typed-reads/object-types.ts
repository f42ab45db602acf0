import type { ObjectRef } from '@pothos/core';
import { z } from 'zod';
import type { ReadObject } from '../../../apps/typed-read.ts';
import type { Builder } from '../../../graphql/builder.ts';
import type { Members, ReadNode } from '../../use/typed-reads/read.ts';

/** The type of an object of an app. */
export type ReadNodeRef = ObjectRef<Builder['$inferSchemaTypes'], ReadNode>;

/** Defines the type of an object of an app, and of the objects in it, from its schema. */
export function defineReadObject(
  builder: Builder,
  typeName: string,
  { description, schema }: ReadObject,
): ReadNodeRef {
  return defineObject<ReadNode>(builder, typeName, {
    description,
    schema,
    getMembers: ({ members }) => members,
  });
}

function defineObject<Parent>(
  builder: Builder,
  typeName: string,
  {
    description,
    schema: { shape },
    getMembers,
  }: { description: string; schema: z.ZodObject; getMembers(parent: Parent): Members },
): ObjectRef<Builder['$inferSchemaTypes'], Parent> {
  const members = Object.entries(shape as Record<string, z.ZodType>).map(([name, schema]) => {
    const { description: text = '' } = schema;
    const { type, isList, isNullable } = parseType(schema);
    const named =
      type instanceof z.ZodObject
        ? defineObject<Members>(builder, `${typeName}${capitalise(name)}`, {
            description: text,
            schema: type,
            getMembers: (parent) => parent,
          })
        : type;
    // The schema has checked the values, which TypeScript does not know.
    const field = { type: (isList ? [named] : named) as 'String', nullable: isNullable, description: text };
    return [name, field] as const;
  });
  return builder.objectRef<Parent>(typeName).implement({
    description,
    fields: (t) =>
      Object.fromEntries(
        members.map(([name, field]) => [
          name,
          t.field({ ...field, resolve: (parent) => getMembers(parent)[name] as string }),
        ]),
      ),
  });
}

interface MemberType {
  type: 'String' | 'Int' | 'Boolean' | 'DateTime' | z.ZodObject;
  isList: boolean;
  isNullable: boolean;
}

function parseType(schema: z.ZodType): MemberType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable)
    return { ...parseType(schema.unwrap() as z.ZodType), isNullable: true };
  if (schema instanceof z.ZodArray)
    return { ...parseType(schema.element as z.ZodType), isNullable: false, isList: true };
  return { type: parseValueType(schema), isList: false, isNullable: false };
}

/** @throws TypeError for a schema that `ReadObject` does not support */
export function parseValueType(schema: z.ZodType): MemberType['type'] {
  if (schema instanceof z.ZodObject) return schema;
  if (schema instanceof z.ZodISODateTime || schema instanceof z.ZodDate) return 'DateTime';
  if (schema instanceof z.ZodString) return 'String';
  if (schema instanceof z.ZodBoolean) return 'Boolean';
  if (schema instanceof z.ZodNumberFormat && schema.format === 'int32') return 'Int';
  throw new TypeError(`A member of the type ${schema.type} cannot be read.`);
}

/** Makes the first letter a capital, as in the name of a type. */
export function capitalise(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
