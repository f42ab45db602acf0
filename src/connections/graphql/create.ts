import { appTypeName, findDefaultMethod } from '../../apps/app.ts';
import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { withInputPaths } from '../../graphql/input-paths.ts';
import { annotationDescriptions } from '../annotations.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import {
  type CreateConnection,
  createConnectionSchema,
  idempotencyKeyDescription,
} from '../input-schemas.ts';
import { createConnection } from '../operations/create.ts';
import type { ConnectionTypes } from './types.ts';

/** Defines `create…Connection` for every app. */
export function defineCreateConnection(
  builder: Builder,
  { Connection, MethodEnum, TagInput, OwnerInput, appTypes }: ConnectionTypes,
): void {
  const OnUnreachable = builder.enumType('OnUnreachable', {
    description: 'What to do if the app cannot verify the credentials.',
    values: {
      FAIL: { description: 'Store nothing and return the error.' },
      SAVE_UNVERIFIED: {
        description:
          'Store the connection with the status UNREACHABLE. Rejected credentials are never stored.',
      },
    },
  });

  for (const { app, CredentialsInput } of appTypes) {
    const defaultValue = findDefaultMethod(app);
    const Input = builder.inputRef<CreateConnection>(`Create${appTypeName(app)}ConnectionInput`).implement({
      description: `The connection to ${app.name} to create.`,
      validate: { schema: createConnectionSchema(app) },
      fields: (t) => ({
        name: t.string({
          required: true,
          description:
            'The name: lower-case letters, digits and single hyphens between them, at most 64. ' +
            'Unique in its project, or among the connections without a project.',
        }),
        description: t.string({ description: 'A description for people, at most 256 characters.' }),
        tags: t.field({ type: [TagInput], description: annotationDescriptions.tags }),
        owner: t.field({ type: OwnerInput, description: annotationDescriptions.owner }),
        notes: t.string({ description: annotationDescriptions.notes }),
        projectId: t.field({
          type: 'UUID',
          description: 'The id of the project. Absent: a connection of the organisation itself.',
        }),
        method: t.field({
          type: MethodEnum,
          required: true,
          description: 'The method of authentication to the app.',
          ...(defaultValue !== undefined && { defaultValue }),
        }),
        credentials: t.field({
          type: CredentialsInput,
          required: true,
          description: `The credentials for ${app.name}. The secret part is encrypted and never returned.`,
        }),
        onUnreachable: t.field({
          type: OnUnreachable,
          required: true,
          defaultValue: 'FAIL',
          description: `What to do if ${app.name} cannot verify the credentials.`,
        }),
        idempotencyKey: t.string({ description: idempotencyKeyDescription }),
      }),
    });
    const Payload = builder
      .objectRef<{ appConnection: AppConnection }>(`Create${appTypeName(app)}ConnectionPayload`)
      .implement({
        description: 'The result of a creation.',
        fields: (t) => ({
          appConnection: t.expose('appConnection', { type: Connection, description: 'The new connection.' }),
        }),
      });
    builder.mutationField(`create${appTypeName(app)}Connection`, (t) =>
      t.field({
        type: Payload,
        nullable: true,
        description:
          `Creates a connection, after verifying the credentials with ${app.name}.` +
          (app.methods.some(({ managedKeys }) => managedKeys)
            ? ' If this server makes the key pair, the connection is `PENDING` until the key is registered and verified.'
            : ''),
        args: { input: t.arg({ type: Input, required: true, description: 'The connection to create.' }) },
        resolve: async (_, { input }, context) => {
          const { connections, request } = context;
          const appConnection = await withInputPaths(() =>
            createConnection(connections, requireCaller(context), app.id, input, request.signal),
          );
          return { appConnection };
        },
      }),
    );
  }
}
