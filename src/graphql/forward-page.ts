import type { ObjectRef } from '@pothos/core';
import type { ZodType } from 'zod';
import { type Page, pageSize } from '../common/pagination.ts';
import type { Builder } from './builder.ts';

type SchemaTypes = Builder['$inferSchemaTypes'];

/**
 * Defines a type for the position of pages that are read forward. The schema has promised two names for it, which stay;
 * lists that are read in both directions have `PageInfo`.
 */
export function defineForwardPageInfo(builder: Builder, name: 'ForwardPageInfo' | 'AuditEventPageInfo') {
  return builder.objectRef<Omit<Page<unknown>, 'nodes'>>(name).implement({
    description:
      'The end of a page, and whether there are more items. The name of this type is deprecated: its fields are those of ' +
      '`PageInfo`, so do not name it in fragments.',
    fields: (t) => ({
      hasNextPage: t.exposeBoolean('hasNextPage', {
        description: 'Whether there are more items after this page.',
      }),
      endCursor: t.exposeString('endCursor', {
        nullable: true,
        description: 'Send this as `after` to read the next page; null on an empty page that is the last.',
      }),
    }),
  });
}

/** Defines the type of a page that is read forward. */
export function defineForwardPage<T>(
  builder: Builder,
  name: string,
  { description, Node, PageInfo, nodes = 'The items of this page.' }: ForwardPageOptions<T>,
) {
  return builder.objectRef<Page<T>>(name).implement({
    description,
    fields: (t) => ({
      nodes: t.field({ type: [Node], description: nodes, resolve: (page) => page.nodes }),
      pageInfo: t.field({
        type: PageInfo,
        description: 'The end of the page, and whether there are more items.',
        resolve: (page) => page,
      }),
    }),
  });
}

interface ForwardPageOptions<T> {
  description: string;
  Node: ObjectRef<SchemaTypes, T>;
  PageInfo: ReturnType<typeof defineForwardPageInfo>;
  /** The description of `nodes`. */
  nodes?: string;
}

/**
 * The arguments `first` and `after` of a list that is read forward.
 *
 * @param cursor the schema of the list's cursors
 */
export function forwardPageArgs(
  { arg }: Pick<PothosSchemaTypes.QueryFieldBuilder<SchemaTypes, SchemaTypes['Root']>, 'arg'>,
  cursor: ZodType<string>,
) {
  return {
    first: arg.int({
      defaultValue: 20,
      required: true,
      description: 'The number of items, 1 to 100.',
      validate: { schema: pageSize },
    }),
    after: arg.string({
      description: '`endCursor` of the previous page.',
      validate: { schema: cursor },
    }),
  };
}
