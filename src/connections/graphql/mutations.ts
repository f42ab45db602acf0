import { type App, appTypeName, hasRateLimits } from '../../apps/app.ts';
import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { withInputPaths } from '../../graphql/input-paths.ts';
import { selectedPaths } from '../../graphql/selection.ts';
import { annotationDescriptions } from '../annotations.ts';
import { checkEveryDescription } from '../check-interval.ts';
import {
  acknowledgeUseDescription,
  connectionName,
  describeRevokeOldToken,
  hasRevocableTokens,
  idempotencyKey,
  idempotencyKeyDescription,
} from '../input-schemas.ts';
import {
  type DeletedConnection,
  deleteConnection,
  restoreConnection,
} from '../operations/delete-and-restore.ts';
import { describeRotation, rotateConnectionKey } from '../operations/rotate-key.ts';
import { updateConnection } from '../operations/update.ts';
import { verifyConnection } from '../operations/verify.ts';
import { describeMaxShare } from '../rate-budget/max-share.ts';
import { type UpdateConnection, updateConnectionSchema } from '../update-input.ts';
import { appTypeFields, inputFieldType } from './credentials-types.ts';
import { defineChangePayload } from './payload.ts';
import type { ConnectionTypes } from './types.ts';

/** Defines `update…Connection` for every app, and the mutations that verify, delete and restore connections. */
export function defineConnectionMutations(
  builder: Builder,
  apps: readonly App[],
  types: ConnectionTypes,
): void {
  for (const app of apps) {
    defineUpdate(builder, app, types);
    if (app.methods.some(({ managedKeys }) => managedKeys)) defineRotateKey(builder, app, types);
  }
  const Verified = defineChangePayload(
    builder,
    types,
    'VerifyAppConnectionPayload',
    'The result of verifying. Without `connections:read`: `id` and `verification`.',
  );
  const Restored = defineChangePayload(
    builder,
    types,
    'RestoreAppConnectionPayload',
    'The result of restoring. Without `connections:read`: `id`, `version` and a new name.',
  );
  const Deleted = builder.objectRef<DeletedConnection>('DeleteAppConnectionPayload').implement({
    description: 'The result of a deletion.',
    fields: (t) => ({
      id: t.expose('id', { type: 'UUID', description: 'The id of the connection.' }),
      restorableUntil: t.expose('restorableUntil', {
        type: 'DateTime',
        nullable: true,
        description: 'The time until which it can be restored; null if it was purged.',
      }),
    }),
  });

  builder.mutationFields((t) => ({
    verifyAppConnection: t.field({
      type: Verified,
      nullable: true,
      description:
        'Verifies the stored credentials with the app and stores the result in `verification`. If the app does not ' +
        'answer, that is a result and not an error.',
      args: { id: t.arg({ type: 'UUID', required: true, description: 'The id of the connection.' }) },
      resolve: async (_, { id }, context, info) => ({
        appConnection: await verifyConnection(
          context.connections,
          requireCaller(context),
          { id },
          { signal: context.request.signal, selected: selectedPaths(info, 'appConnection') },
        ),
      }),
    }),
    deleteAppConnection: t.field({
      type: Deleted,
      nullable: true,
      description:
        'Deletes a connection: hides it and frees its name. It can be restored for some time, unless `purge` is true.',
      args: {
        id: t.arg({ type: 'UUID', required: true, description: 'The id of the connection.' }),
        version: t.arg.int({
          description:
            'The version that you have read. If the connection has another, the request fails with `VERSION_CONFLICT`.',
        }),
        purge: t.arg.boolean({
          defaultValue: false,
          required: true,
          description:
            'Whether to remove the connection and its secret permanently, also if it was deleted before.',
        }),
        acknowledgeUse: t.arg.boolean({ description: acknowledgeUseDescription }),
        idempotencyKey: t.arg.string({
          description: idempotencyKeyDescription,
          validate: { schema: idempotencyKey },
        }),
      },
      resolve: (_, target, context) => deleteConnection(context.connections, requireCaller(context), target),
    }),
    restoreAppConnection: t.field({
      type: Restored,
      nullable: true,
      description: 'Restores a deleted connection.',
      args: {
        id: t.arg({ type: 'UUID', required: true, description: 'The id of the connection.' }),
        name: t.arg.string({
          description: 'A new name, in case the old one has been taken.',
          validate: { schema: connectionName },
        }),
      },
      resolve: async (_, { id, name }, context, info) => ({
        appConnection: await restoreConnection(
          context.connections,
          requireCaller(context),
          { id },
          name,
          selectedPaths(info, 'appConnection'),
        ),
      }),
    }),
  }));
}

function defineUpdate(builder: Builder, app: App, types: ConnectionTypes): void {
  const { name, tenantChange } = app;
  const typeName = appTypeName(app);
  const CredentialsInput = builder.inputType(`Update${typeName}CredentialsInput`, {
    description: `The changes of the credentials for ${name}. Absent fields stay as they are.`,
    fields: (t) =>
      Object.fromEntries(
        appTypeFields(app).map(({ name, kind, help, whereToFind }) => [
          name,
          t.field({ type: inputFieldType(kind), description: `${help} ${whereToFind}` }),
        ]),
      ),
  });
  const Input = builder.inputRef<UpdateConnection>(`Update${typeName}ConnectionInput`).implement({
    description: `The changes of a connection to ${name}. Absent fields stay as they are; null clears a field.`,
    validate: { schema: updateConnectionSchema(app) },
    fields: (t) => ({
      version: t.int({
        description:
          'The version that you have read. If the connection has another, the request fails with `VERSION_CONFLICT`.',
      }),
      name: t.string({ description: 'A new name.' }),
      description: t.string({ description: 'A new description for people; null for none.' }),
      tags: t.field({
        type: [types.TagInput],
        description: `${annotationDescriptions.tags} They replace all tags of the connection; null or no tags for none.`,
      }),
      owner: t.field({
        type: types.OwnerInput,
        description: `${annotationDescriptions.owner} Null for none.`,
      }),
      notes: t.string({ description: `${annotationDescriptions.notes} Null for none.` }),
      credentials: t.field({
        type: CredentialsInput,
        description: `New credentials, which replace the old ones only if ${name} accepts them. A new host needs every secret again.`,
      }),
      ...(hasRateLimits(app) && {
        maxShareOfRateLimit: t.int({ description: `${describeMaxShare(app)} Null for the default.` }),
      }),
      checkEvery: t.int({ description: `${checkEveryDescription} Null for the default.` }),
      ...(hasRevocableTokens(app) && {
        revokeOldToken: t.boolean({ description: describeRevokeOldToken(app) }),
      }),
      acknowledgeUse: t.boolean({ description: acknowledgeUseDescription }),
      idempotencyKey: t.string({ description: idempotencyKeyDescription }),
      ...(tenantChange && { [tenantChange.flag]: t.boolean({ description: tenantChange.description }) }),
    }),
  });
  const Payload = defineChangePayload(
    builder,
    types,
    `Update${typeName}ConnectionPayload`,
    'The result of an update. Without `connections:read`: `id`, `version`, and what was sent.',
  );
  builder.mutationField(`update${typeName}Connection`, (t) =>
    t.field({
      type: Payload,
      nullable: true,
      description: `Updates a connection to ${name}. New credentials are verified first; other changes do not call ${name}.`,
      args: {
        id: t.arg({ type: 'UUID', required: true, description: 'The id of the connection.' }),
        input: t.arg({ type: Input, required: true, description: 'The changes.' }),
      },
      resolve: async (_, { id, input }, context, info) => {
        const { connections, request } = context;
        const target = { app: app.id, id };
        const options = { signal: request.signal, selected: selectedPaths(info, 'appConnection') };
        const appConnection = await withInputPaths(() =>
          updateConnection(connections, requireCaller(context), target, input, options),
        );
        return { appConnection };
      },
    }),
  );
}

function defineRotateKey(builder: Builder, app: App, types: ConnectionTypes): void {
  const typeName = appTypeName(app);
  const Payload = defineChangePayload(
    builder,
    types,
    `Rotate${typeName}ConnectionKeyPayload`,
    'The result of a rotation. Without `connections:read`: `id`, `version`, `credentials.keys` and `verification`.',
  );
  builder.mutationField(`rotate${typeName}ConnectionKey`, (t) =>
    t.field({
      type: Payload,
      nullable: true,
      description: describeRotation(app),
      args: { id: t.arg({ type: 'UUID', required: true, description: 'The id of the connection.' }) },
      resolve: async (_, { id }, context, info) => ({
        appConnection: await rotateConnectionKey(
          context.connections,
          requireCaller(context),
          { id, app: app.id },
          { signal: context.request.signal, selected: selectedPaths(info, 'appConnection') },
        ),
      }),
    }),
  );
}
