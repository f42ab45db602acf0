import type { Builder } from '../../../graphql/builder.ts';
import type { ReadNode, ReadPage } from '../../use/typed-reads/read.ts';
import type { ConnectionTypes } from '../types.ts';
import type { ReadNodeRef } from './object-types.ts';

/** Defines the page of a list of objects of an app. */
export function defineReadPage(
  builder: Builder,
  { PageInfo }: Pick<ConnectionTypes, 'PageInfo'>,
  Node: ReadNodeRef,
) {
  const Edge = builder.objectRef<{ page: ReadPage; index: number }>(`${Node.name}Edge`).implement({
    description: 'An object and its cursor.',
    fields: (t) => ({
      cursor: t.string({
        description: 'The position of the object. Send it as `after` to read on from there.',
        resolve: ({ page, index }) => page.getCursor(index),
      }),
      node: t.field({
        type: Node,
        description: 'The object.',
        resolve: ({ page, index }) => page.nodes[index] as ReadNode,
      }),
    }),
  });
  return builder.objectRef<ReadPage>(`${Node.name}Page`).implement({
    description:
      'A page of a list, with `edges` as in the GraphQL Cursor Connections Specification. It can be shorter than `first`, ' +
      'or empty, while `hasNextPage` is true.',
    fields: (t) => ({
      nodes: t.expose('nodes', { type: [Node], description: 'The objects of this page.' }),
      edges: t.field({
        type: [Edge],
        description: 'The objects with their cursors, for the pagination helpers of Relay, Apollo and urql.',
        resolve: (page) => page.nodes.map((_, index) => ({ page, index })),
      }),
      pageInfo: t.field({
        type: PageInfo,
        description: 'The start and the end of the page, and whether there are more items.',
        resolve: (page) => page,
      }),
    }),
  });
}
