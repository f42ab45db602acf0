import { type App, type AuthMethod, appTypeName, isAlwaysRequired } from '../../apps/app.ts';
import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { selectedPaths } from '../../graphql/selection.ts';
import {
  type ConvertConnection,
  conversionVersion,
  convertToSchema,
  findConversionMethod,
  listConversionFields,
} from '../convert-input.ts';
import {
  acknowledgeUseDescription,
  describeRevokeOldToken,
  idempotencyKey,
  idempotencyKeyDescription,
} from '../input-schemas.ts';
import { cancelConversion, cancellationDescription } from '../operations/cancel-conversion.ts';
import { convertConnection } from '../operations/convert.ts';
import { inputFieldType } from './credentials-types.ts';
import { defineChangePayload } from './payload.ts';
import type { ConnectionTypes } from './types.ts';

/** Defines `convert…Connection` for every app that can convert connections, and the mutation that cancels a conversion. */
export function defineConversions(builder: Builder, apps: readonly App[], types: ConnectionTypes): void {
  const convertible = apps.flatMap((app) => {
    const method = findConversionMethod(app);
    return method ? [{ app, method }] : [];
  });
  if (convertible.length === 0) return;
  for (const { app, method } of convertible) defineConversion(builder, app, method, types);
  const Cancelled = defineChangePayload(
    builder,
    types,
    'CancelAppConnectionConversionPayload',
    'The result of a cancellation. Without `connections:read`: `id` and `version`.',
  );
  builder.mutationField('cancelAppConnectionConversion', (t) =>
    t.field({
      type: Cancelled,
      nullable: true,
      description: cancellationDescription,
      args: { id: t.arg({ type: 'UUID', required: true, description: 'The id of the connection.' }) },
      resolve: async (_, { id }, context, info) => ({
        appConnection: await cancelConversion(
          context.connections,
          requireCaller(context),
          { id },
          selectedPaths(info, 'appConnection'),
        ),
      }),
    }),
  );
}

function defineConversion(builder: Builder, app: App, method: AuthMethod, types: ConnectionTypes): void {
  const typeName = appTypeName(app);
  const To = builder.inputRef<ConvertConnection['to']>(`Convert${typeName}ConnectionInput`).implement({
    description: `The credentials for ${app.name} by the method “${method.label}”. The URL stays that of the connection.`,
    validate: { schema: convertToSchema(method) },
    fields: (t) =>
      Object.fromEntries(
        listConversionFields(method).map(([name, field]) => [
          name,
          t.field({
            type: inputFieldType(field.kind),
            required: isAlwaysRequired(field),
            description: `${field.help} ${field.whereToFind}`,
          }),
        ]),
      ),
  });
  const Payload = defineChangePayload(
    builder,
    types,
    `Convert${typeName}ConnectionPayload`,
    'The result of a conversion. Without `connections:read`: `id`, `version`, `method`, what was sent, and what it needs to be completed.',
  );
  builder.mutationField(`convert${typeName}Connection`, (t) =>
    t.field({
      type: Payload,
      nullable: true,
      description:
        `Converts a connection to ${app.name} to the method “${method.label}”. It keeps its id, name, policy and users. ` +
        'With a private key of yours, the new credentials are verified and replace the old ones at once, or nothing changes. ' +
        'Without one, this server makes the key, and the conversion is pending: the old credentials stay in use until ' +
        '`verifyAppConnection` finds that the new ones work.',
      args: {
        id: t.arg({ type: 'UUID', required: true, description: 'The id of the connection.' }),
        to: t.arg({ type: To, required: true, description: 'The new credentials.' }),
        version: t.arg.int({
          description:
            'The version that you have read. If the connection has another, the request fails with `VERSION_CONFLICT`.',
          validate: { schema: conversionVersion },
        }),
        revokeOldToken: t.arg.boolean({ description: describeRevokeOldToken(app) }),
        acknowledgeUse: t.arg.boolean({ description: acknowledgeUseDescription }),
        idempotencyKey: t.arg.string({
          description: idempotencyKeyDescription,
          validate: { schema: idempotencyKey },
        }),
      },
      resolve: async (_, { id, ...input }, context, info) => ({
        appConnection: await convertConnection(
          context.connections,
          requireCaller(context),
          { app: app.id, id },
          input,
          { signal: context.request.signal, selected: selectedPaths(info, 'appConnection') },
        ),
      }),
    }),
  );
}
