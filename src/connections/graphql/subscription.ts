import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { type ConnectionChange, subscribeToConnections } from '../operations/subscribe.ts';
import { type HostChange, type hostChangeKinds, subscribeToHosts } from '../operations/subscribe-to-hosts.ts';
import type { ConnectionTypes } from './types.ts';

/** Defines the subscriptions `appConnectionChanged` and `hostChanged`. */
export function defineConnectionSubscriptions(
  builder: Builder,
  { Connection, ErrorCodeEnum }: Pick<ConnectionTypes, 'Connection' | 'ErrorCodeEnum'>,
): void {
  const Kind = builder.enumType('AppConnectionChangeKind', {
    description: 'The kinds of changes of a connection.',
    values: {
      CREATED: { description: 'It was created.' },
      UPDATED: { description: 'It or its use policy was updated.' },
      VERIFIED: { description: 'It was verified; `verification` has the result.' },
      EXPIRING: {
        description:
          'Its credentials end within 14 days, 7 days or a day, or their owner is no longer active; `health` has the time and the reason.',
      },
      EXPIRED: { description: 'The time has passed at which its credentials end, as far as it is known.' },
      DELETED: { description: 'It was deleted or purged.' },
      RESTORED: { description: 'It was restored.' },
    },
  });
  const Change = builder.objectRef<ConnectionChange>('AppConnectionChange').implement({
    description: 'A change of a connection.',
    fields: (t) => ({
      eventId: t.exposeString('eventId', {
        description: 'The position of this event. Send it as `after` to receive all later events.',
      }),
      kind: t.field({ type: Kind, description: 'The kind of change.', resolve: ({ kind }) => kind }),
      connectionId: t.expose('connectionId', { type: 'UUID', description: 'The connection.' }),
      appConnection: t.expose('appConnection', {
        type: Connection,
        nullable: true,
        description:
          'The connection as it is now, which can be later than this change; null if it is deleted.',
      }),
    }),
  });
  builder.subscriptionType({ description: 'The subscriptions, over server-sent events.' });
  builder.subscriptionField('appConnectionChanged', (t) =>
    t.field({
      type: Change,
      description:
        'Every change of a connection, whichever server made it. After a disconnect, send the last `eventId` as `after`; no ' +
        'change is missed. If later events were deleted because of their age, it is refused.',
      args: {
        projectId: t.arg({
          type: 'UUID',
          description:
            'Connections of this project; null: connections without a project. Absent: all of the organisation.',
        }),
        after: t.arg.string({
          description: 'The last `eventId` that the client received. Absent: from now on.',
        }),
      },
      subscribe: (_, args, context) => {
        const { connections, assertStillAuthenticated = async () => requireCaller(context) } = context;
        return subscribeToConnections(connections, requireCaller(context), {
          ...args,
          assertStillAuthenticated,
          signal: context.request.signal,
        });
      },
      resolve: (change) => change,
    }),
  );
  defineHostWatch(builder, ErrorCodeEnum);
}

function defineHostWatch(builder: Builder, ErrorCodeEnum: ConnectionTypes['ErrorCodeEnum']): void {
  const Kind = builder.enumType('HostChangeKind', {
    description: 'The kinds of changes of a host.',
    values: {
      UNREACHABLE: { description: 'It does not answer the checks of its connections.' },
      RECOVERED: { description: 'It answers again.' },
      CERTIFICATE_EXPIRING: { description: 'Its TLS certificate ends within 14 days, 7 days or a day.' },
    } satisfies Record<(typeof hostChangeKinds)[number], object>,
  });
  const Change = builder.objectRef<HostChange>('HostChange').implement({
    description: 'A change of a host, which concerns all connections to it.',
    fields: (t) => ({
      eventId: t.exposeString('eventId', {
        description: 'The position of this event. Send it as `after` to receive all later events.',
      }),
      kind: t.field({ type: Kind, description: 'The kind of change.', resolve: ({ kind }) => kind }),
      host: t.exposeString('host', { description: 'The host, as an origin: `https://example.okta.com`.' }),
      code: t.expose('code', {
        type: ErrorCodeEnum,
        nullable: true,
        description: 'Why it is unreachable. Null for other kinds.',
      }),
      certificateValidTo: t.expose('certificateValidTo', {
        type: 'DateTime',
        nullable: true,
        description: 'The time at which its certificate ends. Null for other kinds.',
      }),
    }),
  });
  builder.subscriptionField('hostChanged', (t) =>
    t.field({
      type: Change,
      description:
        'Every outage of a host of the organisation, its end, and each warning of the end of its certificate: one event, ' +
        'whatever the number of connections. Callers that are limited to projects or connections may not subscribe.',
      args: {
        after: t.arg.string({
          description:
            'The last `eventId` that the client received, also of `appConnectionChanged`. Absent: from now on.',
        }),
      },
      subscribe: (_, args, context) => {
        const { connections, assertStillAuthenticated = async () => requireCaller(context) } = context;
        const { signal } = context.request;
        return subscribeToHosts(connections, requireCaller(context), {
          ...args,
          assertStillAuthenticated,
          signal,
        });
      },
      resolve: (change) => change,
    }),
  );
}
