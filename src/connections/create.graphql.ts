import { typeNameOf } from '../apps/app.ts';
import type { Builder } from '../graphql/builder.ts';
import { callerOf } from '../graphql/context.ts';
import type { AppConnection } from './app-connection.entity.ts';
import { createConnection } from './create.ts';
import { type CreateConnection, createConnectionRule, idempotencyKeyDescription } from './input.ts';
import type { ConnectionTypes } from './types.graphql.ts';

/** `create…Connection` for every app. */
export function defineCreateConnection(
  builder: Builder,
  { Connection, MethodEnum, ofApps }: ConnectionTypes,
): void {
  const OnUnreachable = builder.enumType('OnUnreachable', {
    description: 'What to do when nobody can be asked whether the credentials work.',
    values: {
      FAIL: { description: 'Keep nothing and say why.' },
      SAVE_UNVERIFIED: {
        description: 'Keep the connection with the status UNREACHABLE. Rejected credentials are never kept.',
      },
    },
  });

  for (const { app, CredentialsInput } of ofApps) {
    const [onlyMethod, anotherMethod] = app.methods;
    const Input = builder.inputRef<CreateConnection>(`Create${typeNameOf(app)}ConnectionInput`).implement({
      description: `A connection to ${app.name} to be made.`,
      validate: { schema: createConnectionRule(app) },
      fields: (t) => ({
        name: t.string({
          required: true,
          description:
            'The name: lower-case letters, digits and single hyphens between them, at most 64. ' +
            'Unique in its project, or among the connections without a project.',
        }),
        description: t.string({ description: 'A note for people, at most 256 characters.' }),
        projectId: t.field({
          type: 'UUID',
          description: "The project; leave it out for a connection of the organisation's own.",
        }),
        method: t.field({
          type: MethodEnum,
          required: true,
          description: 'How the app lets us in.',
          ...(!anotherMethod && { defaultValue: onlyMethod?.id }),
        }),
        credentials: t.field({
          type: CredentialsInput,
          required: true,
          description: `What ${app.name} needs to let us in. The secret part is sealed and never comes back.`,
        }),
        onUnreachable: t.field({
          type: OnUnreachable,
          required: true,
          defaultValue: 'FAIL',
          description: `What to do when ${app.name} cannot be asked.`,
        }),
        idempotencyKey: t.string({ description: idempotencyKeyDescription }),
      }),
    });
    const Payload = builder
      .objectRef<{ appConnection: AppConnection }>(`Create${typeNameOf(app)}ConnectionPayload`)
      .implement({
        description: 'What was made.',
        fields: (t) => ({
          appConnection: t.expose('appConnection', { type: Connection, description: 'The new connection.' }),
        }),
      });
    builder.mutationField(`create${typeNameOf(app)}Connection`, (t) =>
      t.field({
        type: Payload,
        nullable: true,
        description: `Asks ${app.name} whether the credentials work, seals them and keeps the connection.`,
        args: { input: t.arg({ type: Input, required: true, description: 'The connection to be made.' }) },
        resolve: async (_, { input }, context) => {
          const { connections, request } = context;
          const appConnection = await createConnection(
            connections,
            callerOf(context),
            app.id,
            input,
            request.signal,
          );
          return { appConnection };
        },
      }),
    );
  }
}
