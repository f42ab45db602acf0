import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { forwardPageArgs } from '../../graphql/forward-page.ts';
import { withInputPaths } from '../../graphql/input-paths.ts';
import type { ApiKey } from '../../identity/api-key.entity.ts';
import { apiKeyCursor, createApiKey, listApiKeys } from '../api-keys.ts';
import { createApiKeySchema } from '../input-schemas.ts';
import { type RevokedApiKeys, revokeApiKey } from '../revoke-api-keys.ts';
import type { AdministrationTypes } from './types.ts';

/** Defines the operations on API keys. */
export function defineApiKeys(builder: Builder, types: AdministrationTypes): void {
  const { Scope, Key } = types;
  const Input = builder.inputType('CreateApiKeyInput', {
    description: 'The API key to create. It cannot have more rights than its creator.',
    fields: (t) => ({
      name: t.string({ required: true, description: 'The display name: 1 to 64 characters.' }),
      scopes: t.field({ type: [Scope], required: true, description: 'Its scopes.' }),
      projectIds: t.field({
        type: ['UUID'],
        description:
          'The projects that it is limited to: it sees and creates nothing outside of them. Absent: not limited.',
      }),
      connectionIds: t.field({
        type: ['UUID'],
        description:
          'The connections that it is limited to: it sees no others, and creates and renames none. Absent: not limited.',
      }),
      expiresAt: t.field({
        type: 'DateTime',
        description: 'The time at which it expires. Absent: never.',
      }),
    }),
    validate: { schema: createApiKeySchema },
  });
  const Created = builder
    .objectRef<Awaited<ReturnType<typeof createApiKey>>>('CreateApiKeyPayload')
    .implement({
      description: 'The new API key.',
      fields: (t) => ({
        apiKey: t.expose('apiKey', { type: Key, description: "The key's data." }),
        key: t.string({
          description: 'The key. Only this response contains it; store it with your secrets.',
          resolve: ({ key }) => key.reveal(),
        }),
      }),
    });
  const Revoked = builder.objectRef<RevokedApiKeys>('RevokeApiKeyPayload').implement({
    description: 'The result of revoking.',
    fields: (t) => ({
      apiKey: t.expose('apiKey', { type: Key, description: 'The API key as it is now.' }),
      revokedApiKeys: t.field({
        type: [Key],
        description: 'Every API key that this request revoked.',
        resolve: ({ revoked }) => revoked,
      }),
    }),
  });
  const Page = types.definePage<ApiKey>('ApiKeyPage', 'A page of API keys, newest first.', Key);

  builder.mutationFields((t) => ({
    createApiKey: t.field({
      type: Created,
      nullable: true,
      description: 'Creates an API key. Only this response contains the key. Scope: access:admin.',
      args: { input: t.arg({ type: Input, required: true, description: 'The key to create.' }) },
      resolve: (_, { input }, context) =>
        withInputPaths(() => createApiKey(context.administration, requireCaller(context), input)),
    }),
    revokeApiKey: t.field({
      type: Revoked,
      nullable: true,
      description:
        'Revokes an API key. It stops working on every server within five seconds. The last key that can administer the ' +
        'whole organisation cannot be revoked. Scope: access:admin.',
      args: {
        id: t.arg({ type: 'UUID', required: true, description: 'The id of the key.' }),
        andWhatItMade: t.arg.boolean({
          required: true,
          defaultValue: false,
          description:
            'Whether to revoke also every key that it created, that those created, and so on, for example after a theft. ' +
            'All are revoked, or none.',
        }),
      },
      resolve: (_, { id, andWhatItMade }, context) =>
        revokeApiKey(context.administration, requireCaller(context), id, andWhatItMade),
    }),
  }));
  builder.queryField('apiKeys', (t) =>
    t.field({
      type: Page,
      description: 'The API keys of the organisation, newest first. Scope: access:admin.',
      args: {
        ...forwardPageArgs(t, apiKeyCursor),
        includeRevoked: t.arg.boolean({
          required: true,
          defaultValue: false,
          description: 'Whether to include revoked keys.',
        }),
      },
      resolve: (_, args, context) => listApiKeys(context.administration, requireCaller(context), args),
    }),
  );
}
