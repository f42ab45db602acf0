import type { Page } from '../common/pagination.ts';
import type { Builder } from './builder.ts';

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
