import type { Builder } from '../graphql/builder.ts';
import { callerOf } from '../graphql/context.ts';
import { connectionName, pageSize } from './input.ts';
import { type ConnectionPage, getConnection, getConnectionByName, listConnections } from './read.ts';
import type { ConnectionTypes } from './types.graphql.ts';

/** Reading connections: one by id, one by name, many in pages. */
export function defineConnectionQueries(builder: Builder, types: ConnectionTypes): void {
  const { Connection, AppEnum } = types;
  const PageInfo = builder.objectRef<ConnectionPage>('PageInfo').implement({
    description: 'Where a page ends and whether there is more.',
    fields: (t) => ({
      hasNextPage: t.exposeBoolean('hasNextPage', { description: 'Whether there are more after this page.' }),
      endCursor: t.exposeString('endCursor', {
        nullable: true,
        description: 'Give this as `after` to read on; null on an empty page.',
      }),
    }),
  });
  const Page = builder.objectRef<ConnectionPage>('AppConnectionPage').implement({
    description: 'Part of a list of connections.',
    fields: (t) => ({
      nodes: t.expose('nodes', { type: [Connection], description: 'The connections of this page.' }),
      pageInfo: t.field({
        type: PageInfo,
        description: 'Where the page ends and whether there is more.',
        resolve: (page) => page,
      }),
      totalCount: t.int({
        description: 'How many there are on all pages. Costs a count, so ask only if you need it.',
        resolve: (page) => page.count(),
      }),
    }),
  });

  builder.queryFields((t) => ({
    appConnection: t.field({
      type: Connection,
      nullable: true,
      description: 'A connection by its id; the error `NOT_FOUND` when there is none.',
      args: { id: t.arg({ type: 'UUID', required: true, description: 'The id of the connection.' }) },
      resolve: (_, { id }, context) => getConnection(context.connections, callerOf(context), id),
    }),
    appConnectionByName: t.field({
      type: Connection,
      nullable: true,
      description: 'A connection by its name; the error `NOT_FOUND` when there is none.',
      args: {
        name: t.arg.string({
          required: true,
          description: 'The name.',
          validate: { schema: connectionName },
        }),
        projectId: t.arg({
          type: 'UUID',
          description: 'The project; leave it out for a connection of the organisation itself.',
        }),
      },
      resolve: (_, { name, projectId }, context) =>
        getConnectionByName(context.connections, callerOf(context), name, projectId ?? null),
    }),
    appConnections: t.field({
      type: Page,
      description: 'Connections in order of name, a page at a time.',
      args: {
        projectId: t.arg({
          type: 'UUID',
          description:
            'Only those of this project; null for only those without a project; absent for all of the organisation.',
        }),
        app: t.arg({ type: AppEnum, description: 'Only those to this app.' }),
        first: t.arg.int({
          defaultValue: 20,
          required: true,
          description: 'How many to give, 1 to 100.',
          validate: { schema: pageSize },
        }),
        after: t.arg.string({ description: '`endCursor` of the page before, to read on.' }),
      },
      resolve: (_, args, context) => listConnections(context.connections, callerOf(context), args),
    }),
  }));
}
