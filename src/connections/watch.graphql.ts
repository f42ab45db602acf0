import type { Builder } from '../graphql/builder.ts';
import { callerOf } from '../graphql/context.ts';
import type { ConnectionTypes } from './types.graphql.ts';
import { type ConnectionChange, watchConnections } from './watch.ts';

/** Hearing of changes as they happen. */
export function defineConnectionWatch(builder: Builder, { Connection }: ConnectionTypes): void {
  const Kind = builder.enumType('AppConnectionChangeKind', {
    description: 'What happened to a connection.',
    values: {
      CREATED: { description: 'It was made.' },
      UPDATED: { description: 'It was changed.' },
      VERIFIED: { description: 'The app was asked again; `verification` says what came of it.' },
      DELETED: { description: 'It was deleted or removed for good.' },
      RESTORED: { description: 'It was brought back.' },
    },
  });
  const Change = builder.objectRef<ConnectionChange>('AppConnectionChange').implement({
    description: 'A change of a connection.',
    fields: (t) => ({
      eventId: t.exposeString('eventId', {
        description: 'Give this as `after` to hear of everything since.',
      }),
      kind: t.field({ type: Kind, description: 'What happened.', resolve: ({ kind }) => kind }),
      connectionId: t.expose('connectionId', { type: 'UUID', description: 'The connection.' }),
      appConnection: t.expose('appConnection', {
        type: Connection,
        nullable: true,
        description:
          'The connection as it is now, which may be later than this change; null when it is deleted.',
      }),
    }),
  });
  builder.subscriptionType({ description: 'What can be listened to, over server-sent events.' });
  builder.subscriptionField('appConnectionChanged', (t) =>
    t.field({
      type: Change,
      description:
        'Every change from now on, whichever server made it. A client that was cut off gives the last `eventId` it has ' +
        'seen as `after`, and misses nothing.',
      args: {
        projectId: t.arg({
          type: 'UUID',
          description:
            'Only those of this project; null for only those without a project; absent for all of the organisation.',
        }),
        after: t.arg.string({ description: 'The last `eventId` that was seen; absent: from now on.' }),
      },
      subscribe: (_, args, context) => {
        const { connections, assertSignedIn = async () => callerOf(context) } = context;
        return watchConnections(connections, callerOf(context), { ...args, assertSignedIn });
      },
      resolve: (change) => change,
    }),
  );
}
