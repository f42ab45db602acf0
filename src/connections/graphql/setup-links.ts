import { type Builder, describedValues } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import type { SetupLink } from '../setup-link.entity.ts';
import {
  type CreatedSetupLink,
  createSetupLink,
  defaultExpirySeconds,
  expiresInDescription,
  expiresInSchema,
} from '../setup-links/create.ts';
import { listSetupLinks } from '../setup-links/list.ts';
import { revokeSetupLink } from '../setup-links/revoke.ts';
import { getSetupLinkStatus, setupLinkStatuses } from '../setup-links/setup-link.ts';

/** Defines the operations on setup links. What a link itself can do is REST only. */
export function defineSetupLinks(builder: Builder): void {
  const Link = defineSetupLink(builder);
  const Created = builder.objectRef<CreatedSetupLink>('CreateConnectionSetupLinkPayload').implement({
    description: 'The new setup link.',
    fields: (t) => ({
      setupLink: t.expose('setupLink', { type: Link, description: 'The setup link.' }),
      url: t.string({
        description:
          'The address to send to the person who administers the app. Only this response contains it. Anyone who has it can set ' +
          'up this connection, once.',
        resolve: ({ url }) => url.reveal(),
      }),
    }),
  });
  const Revoked = builder.objectRef<{ setupLink: SetupLink }>('RevokeConnectionSetupLinkPayload').implement({
    description: 'The result of revoking.',
    fields: (t) => ({
      setupLink: t.expose('setupLink', { type: Link, description: 'The setup link as it is now.' }),
    }),
  });
  const connectionId = { type: 'UUID', required: true, description: 'The id of the connection.' } as const;

  builder.mutationFields((t) => ({
    createConnectionSetupLink: t.field({
      type: Created,
      nullable: true,
      description:
        'Creates a one-time address at which a person without a credential of this server sets up the credentials of one ' +
        'connection. A connection has at most 5 active ones. Scope: connections:write.',
      args: {
        connectionId: t.arg(connectionId),
        expiresIn: t.arg.int({
          required: true,
          defaultValue: defaultExpirySeconds,
          description: expiresInDescription,
          validate: { schema: expiresInSchema },
        }),
      },
      resolve: (_, { connectionId: id, expiresIn }, context) =>
        createSetupLink(context.connections, requireCaller(context), { id }, expiresIn),
    }),
    revokeConnectionSetupLink: t.field({
      type: Revoked,
      nullable: true,
      description:
        'Revokes a setup link. It stops working at once. Nothing changes if it does not work any more. Scope: connections:write.',
      args: { id: t.arg({ type: 'UUID', required: true, description: 'The id of the setup link.' }) },
      resolve: async (_, { id }, context) => ({
        setupLink: await revokeSetupLink(context.connections, requireCaller(context), { id }),
      }),
    }),
  }));
  builder.queryField('connectionSetupLinks', (t) =>
    t.field({
      type: [Link],
      description:
        'The newest 50 setup links of a connection, also those that no longer work, newest first. Scope: connections:write.',
      args: { connectionId: t.arg(connectionId) },
      resolve: (_, { connectionId: id }, context) =>
        listSetupLinks(context.connections, requireCaller(context), { id }),
    }),
  );
}

function defineSetupLink(builder: Builder) {
  const Status = builder.enumType('ConnectionSetupLinkStatus', {
    description: 'The states of a setup link.',
    values: describedValues(setupLinkStatuses),
  });
  return builder.objectRef<SetupLink>('ConnectionSetupLink').implement({
    description: 'A setup link of a connection, without its secret, which is not stored.',
    fields: (t) => ({
      id: t.expose('id', { type: 'UUID', description: 'The id, as in the audit trail and the log.' }),
      connectionId: t.expose('connectionId', { type: 'UUID', description: 'The id of the connection.' }),
      status: t.field({ type: Status, description: 'The state.', resolve: getSetupLinkStatus }),
      createdAt: t.expose('createdAt', { type: 'DateTime', description: 'The time of creation.' }),
      expiresAt: t.expose('expiresAt', { type: 'DateTime', description: 'The time at which it expires.' }),
      openedAt: t.expose('openedAt', {
        type: 'DateTime',
        nullable: true,
        description: 'The time at which it was first opened; null if it never was.',
      }),
      finishedAt: t.expose('finishedAt', {
        type: 'DateTime',
        nullable: true,
        description: 'The time at which it led to working credentials; null if it has not.',
      }),
      revokedAt: t.expose('revokedAt', {
        type: 'DateTime',
        nullable: true,
        description: 'The time of revocation; null if it is not revoked.',
      }),
    }),
  });
}
