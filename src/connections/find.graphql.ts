import { asksForAny } from '../graphql/asked.ts';
import type { Builder } from '../graphql/builder.ts';
import { callerOf } from '../graphql/context.ts';
import type { AppConnection } from './app-connection.entity.ts';
import type { ConnectionOrder } from './cursor.ts';
import { type ConnectionFilter, listRule } from './find-input.ts';
import { type ConnectionPage, listConnections } from './read.ts';
import type { ConnectionTypes } from './types.graphql.ts';

/** Finding connections: filtered, in an order, a page at a time. */
export function defineConnectionFinding(builder: Builder, types: ConnectionTypes): void {
  const { AppEnum, detailFields } = types;
  const Filter = defineFilter(builder, types);
  const Order = defineOrder(builder);
  const Page = definePage(builder, types);
  builder.queryField('appConnections', (t) =>
    t.field({
      type: Page,
      description:
        'Connections, a page at a time: forward with `first` and `after`, or backward with `last` and `before`. ' +
        'Both ways at once is `BAD_USER_INPUT`.',
      args: {
        projectId: t.arg({
          type: 'UUID',
          description:
            'Only those of this project; null for only those without a project; absent for all of the organisation.',
        }),
        app: t.arg({ type: AppEnum, description: 'Only those to this app, as `filter.app`.' }),
        filter: t.arg({ type: Filter, description: 'Only those that are like this.' }),
        orderBy: t.arg({
          type: Order,
          defaultValue: { field: 'name', direction: 'asc' },
          description: 'The order of the list, the same on every page and whichever way it is read.',
        }),
        first: t.arg.int({
          description:
            'How many to give from the start, or after `after`: 1 to 100. 20 if neither way is given.',
        }),
        after: t.arg.string({
          description: '`endCursor` of the page before, to read on; with the same `orderBy`.',
        }),
        last: t.arg.int({
          description: 'How many to give from the end, or before `before`, instead of `first`: 1 to 100.',
        }),
        before: t.arg.string({
          description: '`startCursor` of the page after, to read backward; with the same `orderBy`.',
        }),
      },
      validate: { schema: listRule },
      resolve: (_, args, context, info) =>
        listConnections(context.connections, callerOf(context), args, {
          isBrief: !asksForAny(info, detailFields),
        }),
    }),
  );
}

function defineFilter(builder: Builder, { AppEnum, MethodEnum, Status }: ConnectionTypes) {
  return builder.inputRef<ConnectionFilter>('AppConnectionFilter').implement({
    description: 'What connections have to be like, in everything that is given; null is as good as absent.',
    fields: (t) => ({
      app: t.field({ type: AppEnum, description: 'The product.' }),
      method: t.field({ type: MethodEnum, description: 'How the app lets us in.' }),
      status: t.field({
        type: Status,
        description: 'What came of the last time the app was asked: `verification.status`.',
      }),
      namePrefix: t.string({
        description: 'What the name starts with. Every character stands for itself, in upper or lower case.',
      }),
      nameContains: t.string({
        description:
          'What is somewhere in the name. Every character stands for itself, in upper or lower case.',
      }),
      createdFrom: t.field({ type: 'DateTime', description: 'Made at this moment or later.' }),
      createdTo: t.field({ type: 'DateTime', description: 'Made before this moment.' }),
      updatedFrom: t.field({ type: 'DateTime', description: 'Last changed at this moment or later.' }),
      updatedTo: t.field({ type: 'DateTime', description: 'Last changed before this moment.' }),
    }),
  });
}

function defineOrder(builder: Builder) {
  const Field = builder.enumType('AppConnectionOrderField', {
    description: 'What connections can be in order of. Those that are equal in it are in order of their ids.',
    values: {
      NAME: { value: 'name', description: 'The name, by the codes of its characters: `a-1`, `a1`, `aa`.' },
      CREATED_AT: { value: 'createdAt', description: 'When it was made.' },
      UPDATED_AT: {
        value: 'updatedAt',
        description: 'When it was last changed. What is changed while you page moves to its new place.',
      },
    } as const,
  });
  const Direction = builder.enumType('OrderDirection', {
    description: 'Which way round an order is.',
    values: {
      ASC: { value: 'asc', description: 'From a to z, and from the earliest to the latest.' },
      DESC: { value: 'desc', description: 'From z to a, and from the latest to the earliest.' },
    } as const,
  });
  return builder.inputRef<ConnectionOrder>('AppConnectionOrder').implement({
    description: 'An order of connections.',
    fields: (t) => ({
      field: t.field({ type: Field, required: true, description: 'What they are in order of.' }),
      direction: t.field({
        type: Direction,
        required: true,
        defaultValue: 'asc',
        description: 'Which way round.',
      }),
    }),
  });
}

function definePage(builder: Builder, { Connection }: ConnectionTypes) {
  const PageInfo = builder.objectRef<ConnectionPage>('PageInfo').implement({
    description: 'Where a page starts and ends, and whether there is more.',
    fields: (t) => ({
      hasNextPage: t.boolean({
        description: 'Whether there are more after this page.',
        resolve: (page) => page.hasNextPage(),
      }),
      hasPreviousPage: t.boolean({
        description: 'Whether there are more before this page.',
        resolve: (page) => page.hasPreviousPage(),
      }),
      startCursor: t.exposeString('startCursor', {
        nullable: true,
        description: 'Give this as `before` to read backward; null on an empty page.',
      }),
      endCursor: t.exposeString('endCursor', {
        nullable: true,
        description: 'Give this as `after` to read on; null on an empty page.',
      }),
    }),
  });
  const Edge = builder
    .objectRef<{ page: ConnectionPage; node: AppConnection }>('AppConnectionEdge')
    .implement({
      description: 'A connection and its cursor.',
      fields: (t) => ({
        cursor: t.string({
          description:
            'Give this as `after` to read on from this connection, or as `before` to read backward.',
          resolve: ({ page, node }) => page.cursorOf(node),
        }),
        node: t.expose('node', { type: Connection, description: 'The connection.' }),
      }),
    });
  return builder.objectRef<ConnectionPage>('AppConnectionPage').implement({
    description:
      'Part of a list of connections, with `edges` as in the GraphQL Cursor Connections Specification.',
    fields: (t) => ({
      nodes: t.expose('nodes', {
        type: [Connection],
        description: 'The connections of this page, in the order asked for, whichever way it was read.',
      }),
      edges: t.field({
        type: [Edge],
        description:
          'The same connections, each with its cursor: for the pagination helpers of Relay, Apollo and urql.',
        resolve: (page) => page.nodes.map((node) => ({ page, node })),
      }),
      pageInfo: t.field({
        type: PageInfo,
        description: 'Where the page starts and ends, and whether there is more.',
        resolve: (page) => page,
      }),
      totalCount: t.int({
        description: 'How many there are on all pages. Costs a count, so ask only if you need it.',
        resolve: (page) => page.count(),
      }),
    }),
  });
}
