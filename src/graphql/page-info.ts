import type { Builder } from './builder.ts';

/** Where a page is in its list. */
export interface PagePosition {
  hasNextPage(): boolean | Promise<boolean>;
  hasPreviousPage(): boolean | Promise<boolean>;
  readonly startCursor: string | null;
  readonly endCursor: string | null;
}

/** Defines `PageInfo`, with the fields of the GraphQL Cursor Connections Specification. */
export function definePageInfo(builder: Builder) {
  return builder.objectRef<PagePosition>('PageInfo').implement({
    description: 'The start and the end of a page, and whether there are more items.',
    fields: (t) => ({
      hasNextPage: t.boolean({
        description: 'Whether there are more items after this page.',
        resolve: (page) => page.hasNextPage(),
      }),
      hasPreviousPage: t.boolean({
        description: 'Whether there are more items before this page.',
        resolve: (page) => page.hasPreviousPage(),
      }),
      startCursor: t.exposeString('startCursor', {
        nullable: true,
        description:
          'Send this as `before` to read backward, where there is this argument; null on an empty page.',
      }),
      endCursor: t.exposeString('endCursor', {
        nullable: true,
        description: 'Send this as `after` to read the next page; null on an empty page that is the last.',
      }),
    }),
  });
}
