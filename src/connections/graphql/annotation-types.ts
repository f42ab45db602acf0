import type { ObjectRef } from '@pothos/core';
import type { Builder } from '../../graphql/builder.ts';
import { annotationDescriptions, type ConnectionOwner, maxTags, type Tag } from '../annotations.ts';
import type { AppConnection } from '../app-connection.entity.ts';

/** Adds to `AppConnection` what people say about a connection. */
export function defineAnnotationFields(
  builder: Builder,
  Connection: ObjectRef<Builder['$inferSchemaTypes'], AppConnection>,
): void {
  const TagType = builder.objectRef<Tag>('Tag').implement({
    description: 'A tag of a connection.',
    fields: (t) => ({
      key: t.exposeString('key', { description: 'The key, once on a connection.' }),
      value: t.exposeString('value', { description: 'The value, which can be empty.' }),
    }),
  });
  const Owner = builder.objectRef<ConnectionOwner>('ConnectionOwner').implement({
    description: 'The person or team to ask about a connection.',
    fields: (t) => ({
      name: t.exposeString('name', { description: 'The name of a person or a team.' }),
      email: t.exposeString('email', { description: 'The e-mail address.' }),
    }),
  });
  builder.objectFields(Connection, (t) => ({
    tags: t.field({
      type: [TagType],
      description: annotationDescriptions.tags,
      // Fewer than there can be: most connections have some.
      extensions: { listSize: maxTags / 5 },
      resolve: ({ tags }) => tags ?? [],
    }),
    owner: t.expose('owner', { type: Owner, nullable: true, description: annotationDescriptions.owner }),
    notes: t.exposeString('notes', { nullable: true, description: annotationDescriptions.notes }),
  }));
}

/** Defines the inputs of what people say about a connection. */
export function defineAnnotationInputs(builder: Builder) {
  const TagInput = builder.inputRef<Tag>('TagInput').implement({
    description: 'A tag of a connection.',
    fields: (t) => ({
      key: t.string({ required: true, description: 'The key.' }),
      value: t.string({ required: true, description: 'The value, which can be empty.' }),
    }),
  });
  const OwnerInput = builder.inputRef<ConnectionOwner>('ConnectionOwnerInput').implement({
    description: 'The person or team to ask about a connection.',
    fields: (t) => ({
      name: t.string({ required: true, description: 'The name of a person or a team.' }),
      email: t.string({ required: true, description: 'The e-mail address.' }),
    }),
  });
  return { TagInput, OwnerInput };
}
