import { type App, appTypeName, findDefaultMethod, requestIdField } from '../../apps/app.ts';
import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { type ValidateCredentials, validateCredentialsSchema } from '../input-schemas.ts';
import { type ValidationResult, validateCredentials } from '../operations/verify.ts';
import type { ConnectionTypes } from './types.ts';
import { toTypedDetails } from './verification-details.ts';

/** Defines `validate…Credentials` for every app, with which forms and CI check credentials without storing them. */
export function defineCredentialsValidation(builder: Builder, types: ConnectionTypes): void {
  for (const { app, Account, CredentialsInput } of types.appTypes) {
    const Payload = definePayload(builder, types, app, Account);
    const defaultValue = findDefaultMethod(app);
    builder.mutationField(`validate${appTypeName(app)}Credentials`, (t) =>
      t.field({
        type: Payload,
        nullable: true,
        description:
          `Verifies credentials with ${app.name} without storing anything. If ${app.name} rejects them, that is a result ` +
          'and not an error. Scope: connections:verify.',
        args: {
          credentials: t.arg({
            type: CredentialsInput,
            required: true,
            description: 'The credentials, by the same rules as those of a new connection.',
          }),
          method: t.arg({
            type: types.MethodEnum,
            required: true,
            description: 'The method of authentication to the app.',
            ...(defaultValue !== undefined && { defaultValue }),
          }),
        },
        validate: { schema: validateCredentialsSchema(app) },
        resolve: async (_, { credentials, method }: ValidateCredentials, context) => {
          const target = { app: app.id, method };
          const caller = requireCaller(context);
          const { signal } = context.request;
          const result = await validateCredentials(context.connections, caller, target, credentials, signal);
          return { ...result, ...target };
        },
      }),
    );
  }
}

/** A result, and whose it is. */
type Validation = ValidationResult & { app: string; method: string };

type OfApp = ConnectionTypes['appTypes'][number];

function definePayload(
  builder: Builder,
  { Status, ErrorCodeEnum, Details }: ConnectionTypes,
  app: App,
  Account: OfApp['Account'],
) {
  const { name, account } = app;
  return builder.objectRef<Validation>(`Validate${appTypeName(app)}CredentialsPayload`).implement({
    description: `The result of verifying credentials with ${name}.`,
    fields: (t) => ({
      status: t.expose('status', { type: Status, description: 'The result.' }),
      code: t.field({
        type: ErrorCodeEnum,
        nullable: true,
        description: 'The error code; null if the verification succeeded.',
        resolve: (diagnosis) => toValidationFailure(diagnosis)?.code,
      }),
      message: t.string({
        nullable: true,
        description: 'A description of the problem; null if the verification succeeded.',
        resolve: (diagnosis) => (diagnosis.status === 'VERIFIED' ? null : diagnosis.message),
      }),
      remedy: t.string({
        nullable: true,
        description: 'What to do next; null if the verification succeeded.',
        resolve: (diagnosis) => (diagnosis.status === 'VERIFIED' ? null : diagnosis.remedy),
      }),
      retryAt: t.field({
        type: 'DateTime',
        nullable: true,
        description: 'The time at which the request can be sent again, if it is known.',
        resolve: (diagnosis) => toValidationFailure(diagnosis)?.retryAt,
      }),
      [requestIdField(app)]: t.exposeString('upstreamRequestId', {
        nullable: true,
        description: `The id of the request at ${name}, for the support of ${name}.`,
      }),
      ...(Details && {
        details: t.field({
          type: Details,
          nullable: true,
          description: 'What was found out about the credentials; null if nothing.',
          resolve: (result) =>
            toTypedDetails([app], result, result.status === 'VERIFIED' ? result.details : null),
        }),
      }),
      ...(account &&
        Account && {
          [account.field]: t.field({
            type: Account,
            nullable: true,
            description: account.description,
            resolve: (diagnosis) => (diagnosis.status === 'VERIFIED' ? diagnosis.account : null),
          }),
        }),
    }),
  });
}

function toValidationFailure(diagnosis: ValidationResult) {
  return diagnosis.status === 'VERIFIED' || diagnosis.status === 'PENDING' ? null : diagnosis;
}
