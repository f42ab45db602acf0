import type { InterfaceRef, ObjectRef } from '@pothos/core';
import { z } from 'zod';
import type { Builder } from './builder.ts';

type Types = Builder['$inferSchemaTypes'];

/** How to define a type from a zod schema. */
export interface SchemaObject<Parent> {
  description: string;
  /** The members, with a description each. An object in it is named `prefix` and its `title`, or after its member. */
  schema: z.ZodObject;
  prefix?: string;
  interfaces?: InterfaceRef<Types, Parent>[];
  /** Returns the values, which the schema has checked. */
  getMembers(parent: Parent): Readonly<Record<string, unknown>>;
}

/** Defines the type of an object, and of the objects in it, from a zod schema. */
export function defineSchemaObject<Parent>(
  builder: Builder,
  typeName: string,
  { description, schema: { shape }, prefix = '', interfaces = [], getMembers }: SchemaObject<Parent>,
): ObjectRef<Types, Parent> {
  const members = Object.entries(shape as Record<string, z.ZodType>).map(([name, schema]) => {
    const { description: text = '' } = schema;
    const { type, isList, isNullable } = parseType(schema);
    const named =
      type instanceof z.ZodObject ? defineMember(builder, { typeName, prefix, name }, text, type) : type;
    // The schema has checked the values, which TypeScript does not know.
    const field = { type: (isList ? [named] : named) as 'String', nullable: isNullable, description: text };
    return [name, field] as const;
  });
  return builder.objectRef<Parent>(typeName).implement({
    description,
    interfaces,
    fields: (t) =>
      Object.fromEntries(
        members.map(([name, field]) => [
          name,
          t.field({ ...field, resolve: (parent) => getMembers(parent)[name] as string }),
        ]),
      ),
  });
}

const named = new WeakMap<Builder, Map<string, ObjectRef<Types, Record<string, unknown>>>>();

/** Several objects can have a member of the same type, if it has a title. */
function defineMember(
  builder: Builder,
  { typeName, prefix, name }: { typeName: string; prefix: string; name: string },
  text: string,
  schema: z.ZodObject,
) {
  const { title, description = text } = schema.meta() ?? {};
  const memberName = title === undefined ? `${typeName}${capitalise(name)}` : `${prefix}${title}`;
  const known = named.get(builder) ?? new Map();
  named.set(builder, known);
  const getMembers = (parent: Record<string, unknown>) => parent;
  const defined =
    known.get(memberName) ??
    defineSchemaObject(builder, memberName, { description, schema, prefix, getMembers });
  known.set(memberName, defined);
  return defined;
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

/** @throws TypeError for a schema that cannot be a GraphQL type */
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
