import { type App, type Diagnosis, requestIdFieldOf, typeNameOf } from '../apps/app.ts';
import type { Builder } from '../graphql/builder.ts';
import { callerOf } from '../graphql/context.ts';
import { type ValidateCredentials, validateCredentialsRule } from './input.ts';
import type { ConnectionTypes } from './types.graphql.ts';
import { validateCredentials } from './verify.ts';

/** `validate…Credentials` for every app: for forms and CI, which want to know before anything is kept. */
export function defineCredentialsValidation(builder: Builder, types: ConnectionTypes): void {
  for (const { app, Account, CredentialsInput } of types.ofApps) {
    const Payload = definePayload(builder, types, app, Account);
    const [onlyMethod, anotherMethod] = app.methods;
    builder.mutationField(`validate${typeNameOf(app)}Credentials`, (t) =>
      t.field({
        type: Payload,
        nullable: true,
        description:
          `Asks ${app.name} whether credentials work, and keeps nothing, whatever the answer. What ${app.name} says ` +
          'is the outcome, also when it says no; errors are about the request alone. Needs the scope ' +
          '`connections:verify`.',
        args: {
          credentials: t.arg({
            type: CredentialsInput,
            required: true,
            description: 'The credentials, by the same rules as those of a connection to be made.',
          }),
          method: t.arg({
            type: types.MethodEnum,
            required: true,
            description: 'How the app lets us in.',
            ...(!anotherMethod && { defaultValue: onlyMethod?.id }),
          }),
        },
        validate: { schema: validateCredentialsRule(app) },
        resolve: (_, { credentials, method }: ValidateCredentials, context) =>
          validateCredentials(context.connections, callerOf(context), { app: app.id, method }, credentials),
      }),
    );
  }
}

type OfApp = ConnectionTypes['ofApps'][number];

function definePayload(
  builder: Builder,
  { Status, ErrorCodeEnum }: ConnectionTypes,
  app: App,
  Account: OfApp['Account'],
) {
  const { name, account } = app;
  return builder.objectRef<Diagnosis>(`Validate${typeNameOf(app)}CredentialsPayload`).implement({
    description: `What came of asking ${name} whether credentials work.`,
    fields: (t) => ({
      status: t.expose('status', { type: Status, description: 'The outcome.' }),
      code: t.field({
        type: ErrorCodeEnum,
        nullable: true,
        description: 'What went wrong, for programs; null when nothing did.',
        resolve: (diagnosis) => failureOf(diagnosis)?.code,
      }),
      message: t.string({
        nullable: true,
        description: 'What went wrong, for people; null when nothing did.',
        resolve: (diagnosis) => failureOf(diagnosis)?.message,
      }),
      remedy: t.string({
        nullable: true,
        description: 'What to do about it; null when nothing went wrong.',
        resolve: (diagnosis) => failureOf(diagnosis)?.remedy,
      }),
      retryAt: t.field({
        type: 'DateTime',
        nullable: true,
        description: 'When asking again makes sense, if that is known.',
        resolve: (diagnosis) => failureOf(diagnosis)?.retryAt,
      }),
      [requestIdFieldOf(app)]: t.exposeString('upstreamRequestId', {
        nullable: true,
        description: `The id that ${name} itself gave the request, for the support of ${name}.`,
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

function failureOf(diagnosis: Diagnosis) {
  return diagnosis.status === 'VERIFIED' ? null : diagnosis;
}
