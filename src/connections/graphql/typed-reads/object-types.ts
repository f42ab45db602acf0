import type { ObjectRef } from '@pothos/core';
import type { ReadObject } from '../../../apps/typed-read.ts';
import type { Builder } from '../../../graphql/builder.ts';
import { defineSchemaObject } from '../../../graphql/schema-objects.ts';
import type { ReadNode } from '../../use/typed-reads/read.ts';

/** The type of an object of an app. */
export type ReadNodeRef = ObjectRef<Builder['$inferSchemaTypes'], ReadNode>;

/** Defines the type of an object of an app, and of the objects in it, from its schema. */
export function defineReadObject(
  builder: Builder,
  typeName: string,
  { description, schema }: ReadObject,
): ReadNodeRef {
  return defineSchemaObject<ReadNode>(builder, typeName, {
    description,
    schema,
    getMembers: ({ members }) => members,
  });
}
