import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { selectsAny } from '../../graphql/selects-any.ts';
import { type TagFilter, tagFilterDescription } from '../annotations.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionOrder } from '../cursor.ts';
import { type ConnectionFilter, listConnectionsSchema } from '../list-input.ts';
import { type ConnectionPage, listConnections } from '../operations/read.ts';
import type { ConnectionTypes } from './types.ts';

/** Defines `appConnections`: the list of connections with filters, orders and pages. */
export function defineListConnections(builder: Builder, types: ConnectionTypes): void {
  const { AppEnum, detailFields } = types;
  const Filter = defineFilter(builder, types);
  const Order = defineOrder(builder);
  const Page = definePage(builder, types);
  builder.queryField('appConnections', (t) =>
    t.field({
      type: Page,
      description:
        'A page of connections: forward with `first` and `after`, or backward with `last` and `before`. Both at once is ' +
        '`BAD_USER_INPUT`.',
      args: {
        projectId: t.arg({
          type: 'UUID',
          description:
            'Connections of this project; null: connections without a project. Absent: all of the organisation.',
        }),
        app: t.arg({ type: AppEnum, description: 'Connections to this app, like `filter.app`.' }),
        filter: t.arg({ type: Filter, description: 'Conditions for connections.' }),
        orderBy: t.arg({
          type: Order,
          defaultValue: { field: 'name', direction: 'asc' },
          description: 'The order of the list, the same on every page and in both directions.',
        }),
        first: t.arg.int({
          description: 'The number of connections from the start, or after `after`: 1 to 100. Default: 20.',
        }),
        after: t.arg.string({
          description: '`endCursor` of the previous page, with the same `orderBy`.',
        }),
        last: t.arg.int({
          description:
            'The number of connections from the end, or before `before`: 1 to 100. Excludes `first`.',
        }),
        before: t.arg.string({
          description: '`startCursor` of the following page, to read backward, with the same `orderBy`.',
        }),
      },
      validate: { schema: listConnectionsSchema },
      resolve: (_, args, context, info) =>
        listConnections(context.connections, requireCaller(context), args, {
          isBrief: !selectsAny(info, detailFields),
        }),
    }),
  );
}

function defineFilter(builder: Builder, { AppEnum, MethodEnum, Status }: ConnectionTypes) {
  const Tag = builder.inputRef<TagFilter>('TagFilterInput').implement({
    description: 'A condition for tags.',
    fields: (t) => ({
      key: t.string({ required: true, description: 'The key.' }),
      value: t.string({ description: 'The value. Absent: any.' }),
    }),
  });
  return builder.inputRef<ConnectionFilter>('AppConnectionFilter').implement({
    description: 'Conditions for connections. All must hold. Null is the same as absent.',
    fields: (t) => ({
      app: t.field({ type: AppEnum, description: 'The app.' }),
      method: t.field({ type: MethodEnum, description: 'The method of authentication to the app.' }),
      status: t.field({
        type: Status,
        description: 'The result of the last verification: `verification.status`.',
      }),
      health: t.field({
        type: Status,
        description: 'Whether it works: `health.status`. `UNREACHABLE` also if the host does not answer.',
      }),
      namePrefix: t.string({
        description: 'The start of the name. There are no wildcards; case is ignored.',
      }),
      nameContains: t.string({
        description: 'A part of the name. There are no wildcards; case is ignored.',
      }),
      tags: t.field({ type: [Tag], description: tagFilterDescription }),
      createdFrom: t.field({ type: 'DateTime', description: 'Created at this time or later.' }),
      createdTo: t.field({ type: 'DateTime', description: 'Created before this time.' }),
      updatedFrom: t.field({ type: 'DateTime', description: 'Last changed at this time or later.' }),
      updatedTo: t.field({ type: 'DateTime', description: 'Last changed before this time.' }),
      expiresBefore: t.field({
        type: 'DateTime',
        description: 'With `health.expiresAt` before this time, also in the past.',
      }),
      sinceBefore: t.field({ type: 'DateTime', description: `\`health.since\` ${beforeTime}` }),
      lastCheckBefore: t.field({ type: 'DateTime', description: `\`health.lastCheckAt\` ${beforeTime}` }),
      nextCheckBefore: t.field({ type: 'DateTime', description: `\`health.nextCheckAt\` ${beforeTime}` }),
      lastGoodBefore: t.field({ type: 'DateTime', description: `\`health.lastGoodAt\` ${beforeTime}` }),
    }),
  });
}

const beforeTime = 'is before this time. Outages of the host do not count.';

const ofHealth =
  'Null is later than every time. Outages of the host do not count. A connection that is checked while you page moves to its new position.';

function defineOrder(builder: Builder) {
  const Field = builder.enumType('AppConnectionOrderField', {
    description: 'The fields by which connections can be sorted. Equal values are sorted by id.',
    values: {
      NAME: { value: 'name', description: 'The name, by character codes: `a-1`, `a1`, `aa`.' },
      CREATED_AT: { value: 'createdAt', description: 'The time of creation.' },
      UPDATED_AT: {
        value: 'updatedAt',
        description:
          'The time of the last change. A connection that is changed while you page moves to its new position.',
      },
      SINCE: { value: 'since', description: `\`health.since\`. ${ofHealth}` },
      LAST_CHECK_AT: { value: 'lastCheckAt', description: `\`health.lastCheckAt\`. ${ofHealth}` },
      NEXT_CHECK_AT: { value: 'nextCheckAt', description: `\`health.nextCheckAt\`. ${ofHealth}` },
      LAST_GOOD_AT: { value: 'lastGoodAt', description: `\`health.lastGoodAt\`. ${ofHealth}` },
      EXPIRES_AT: { value: 'expiresAt', description: `\`health.expiresAt\`. ${ofHealth}` },
    } as const,
  });
  const Direction = builder.enumType('OrderDirection', {
    description: 'The direction of an order.',
    values: {
      ASC: { value: 'asc', description: 'Ascending: from a to z, and from the earliest to the latest.' },
      DESC: { value: 'desc', description: 'Descending: from z to a, and from the latest to the earliest.' },
    } as const,
  });
  return builder.inputRef<ConnectionOrder>('AppConnectionOrder').implement({
    description: 'An order of connections.',
    fields: (t) => ({
      field: t.field({ type: Field, required: true, description: 'The field.' }),
      direction: t.field({
        type: Direction,
        required: true,
        defaultValue: 'asc',
        description: 'The direction.',
      }),
    }),
  });
}

function definePage(builder: Builder, { Connection, PageInfo }: ConnectionTypes) {
  const Edge = builder
    .objectRef<{ page: ConnectionPage; node: AppConnection }>('AppConnectionEdge')
    .implement({
      description: 'A connection and its cursor.',
      fields: (t) => ({
        cursor: t.string({
          description:
            'The position of this connection. Send it as `after` to read forward, or as `before` to read backward.',
          resolve: ({ page, node }) => page.getCursor(node),
        }),
        node: t.expose('node', { type: Connection, description: 'The connection.' }),
      }),
    });
  return builder.objectRef<ConnectionPage>('AppConnectionPage').implement({
    description: 'A page of connections, with `edges` as in the GraphQL Cursor Connections Specification.',
    fields: (t) => ({
      nodes: t.expose('nodes', {
        type: [Connection],
        description: 'The connections of this page, in the requested order, also when read backward.',
      }),
      edges: t.field({
        type: [Edge],
        description:
          'The connections with their cursors, for the pagination helpers of Relay, Apollo and urql.',
        resolve: (page) => page.nodes.map((node) => ({ page, node })),
      }),
      pageInfo: t.field({
        type: PageInfo,
        description: 'The start and the end of the page, and whether there are more items.',
        resolve: (page) => page,
      }),
      totalCount: t.int({
        description: 'The number of connections on all pages. It costs a query of its own.',
        resolve: (page) => page.count(),
      }),
    }),
  });
}
