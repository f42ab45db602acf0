import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { connectionName } from '../input-schemas.ts';
import { getConnection, getConnectionByName } from '../operations/read.ts';
import type { ConnectionTypes } from './types.ts';

/** Defines `appConnection` and `appConnectionByName`. */
export function defineGetConnection(builder: Builder, { Connection }: ConnectionTypes): void {
  builder.queryFields((t) => ({
    appConnection: t.field({
      type: Connection,
      nullable: true,
      description: 'A connection by its id, or the error `NOT_FOUND`.',
      args: { id: t.arg({ type: 'UUID', required: true, description: 'The id of the connection.' }) },
      resolve: (_, { id }, context) => getConnection(context.connections, requireCaller(context), id),
    }),
    appConnectionByName: t.field({
      type: Connection,
      nullable: true,
      description: 'A connection by its name, or the error `NOT_FOUND`.',
      args: {
        name: t.arg.string({
          required: true,
          description: 'The name.',
          validate: { schema: connectionName },
        }),
        projectId: t.arg({
          type: 'UUID',
          description: 'The id of the project. Absent: a connection of the organisation itself.',
        }),
      },
      resolve: (_, { name, projectId }, context) =>
        getConnectionByName(context.connections, requireCaller(context), name, projectId ?? null),
    }),
  }));
}
