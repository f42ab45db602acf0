import type { ApiKey } from '../access/api-key.entity.ts';
import { pageSize } from '../connections/input.ts';
import type { Builder } from '../graphql/builder.ts';
import { callerOf } from '../graphql/context.ts';
import { createApiKeyRule } from './input.ts';
import { apiKeyCursor, createApiKey, listApiKeys, type RevokedApiKeys, revokeApiKey } from './keys.ts';
import type { AdministrationTypes } from './types.graphql.ts';

/** Making, listing and revoking API keys. */
export function defineApiKeys(builder: Builder, types: AdministrationTypes): void {
  const { Scope, Key } = types;
  const Input = builder.inputType('CreateApiKeyInput', {
    description: 'An API key to be made. Nobody can grant what they do not hold.',
    fields: (t) => ({
      name: t.string({ required: true, description: 'What people call it: 1 to 64 characters.' }),
      scopes: t.field({ type: [Scope], required: true, description: 'What it may do.' }),
      projectIds: t.field({
        type: ['UUID'],
        description:
          'The projects that it is limited to: it sees nothing else, and makes nothing elsewhere. Leave it out for all ' +
          'of the organisation.',
      }),
      expiresAt: t.field({
        type: 'DateTime',
        description: 'From then on it lets nobody in. Leave it out for never.',
      }),
    }),
    validate: { schema: createApiKeyRule },
  });
  const Created = builder
    .objectRef<Awaited<ReturnType<typeof createApiKey>>>('CreateApiKeyPayload')
    .implement({
      description: 'The new API key.',
      fields: (t) => ({
        apiKey: t.expose('apiKey', { type: Key, description: 'What is known of it.' }),
        key: t.string({
          description:
            'The key itself. It is shown this once and never again: keep it where you keep secrets.',
          resolve: ({ key }) => key.reveal(),
        }),
      }),
    });
  const Revoked = builder.objectRef<RevokedApiKeys>('RevokeApiKeyPayload').implement({
    description: 'What was revoked.',
    fields: (t) => ({
      apiKey: t.expose('apiKey', { type: Key, description: 'The API key as it is now.' }),
      revokedApiKeys: t.field({
        type: [Key],
        description: 'Every API key that was revoked by this; none that had been revoked before.',
        resolve: ({ revoked }) => revoked,
      }),
    }),
  });
  const Page = types.definePage<ApiKey>('ApiKeyPage', 'Part of the API keys, the newest first.', Key);

  builder.mutationFields((t) => ({
    createApiKey: t.field({
      type: Created,
      nullable: true,
      description: 'Makes an API key and shows it, once. Needs the scope access:admin.',
      args: { input: t.arg({ type: Input, required: true, description: 'The key to be made.' }) },
      resolve: (_, { input }, context) => createApiKey(context.administration, callerOf(context), input),
    }),
    revokeApiKey: t.field({
      type: Revoked,
      nullable: true,
      description:
        'Revokes an API key: within five seconds it lets nobody in, on any server. The last one that can administer the ' +
        'whole organisation stays. Needs the scope access:admin.',
      args: {
        id: t.arg({ type: 'UUID', required: true, description: 'The id of the key.' }),
        andWhatItMade: t.arg.boolean({
          required: true,
          defaultValue: false,
          description:
            'Whether to revoke also every key that it has made, and that those have made, and so on: for a key that was ' +
            'stolen. All are revoked, or none.',
        }),
      },
      resolve: (_, { id, andWhatItMade }, context) =>
        revokeApiKey(context.administration, callerOf(context), id, andWhatItMade),
    }),
  }));
  builder.queryField('apiKeys', (t) =>
    t.field({
      type: Page,
      description: 'The API keys of the organisation, the newest first. Needs the scope access:admin.',
      args: {
        first: t.arg.int({
          defaultValue: 20,
          required: true,
          description: 'How many to give, 1 to 100.',
          validate: { schema: pageSize },
        }),
        after: t.arg.string({
          description: '`endCursor` of the page before, to read on.',
          validate: { schema: apiKeyCursor },
        }),
        includeRevoked: t.arg.boolean({
          required: true,
          defaultValue: false,
          description: 'Whether to give those too that were revoked.',
        }),
      },
      resolve: (_, args, context) => listApiKeys(context.administration, callerOf(context), args),
    }),
  );
}
