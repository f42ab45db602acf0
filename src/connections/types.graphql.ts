import type { App } from '../apps/app.ts';
import { type Builder, defineErrorCode, enumValues } from '../graphql/builder.ts';
import type { AppConnection } from './app-connection.entity.ts';

/** The types that speak of connections, for the operations to build on. */
export type ConnectionTypes = ReturnType<typeof defineConnectionTypes>;

/** `AppConnection` and all that hangs on it, made from the registry of apps. */
export function defineConnectionTypes(builder: Builder, apps: readonly App[]) {
  const AppEnum = builder.enumType('App', {
    description: 'The third-party products that connections lead to.',
    values: enumValues(apps),
  });
  const MethodEnum = builder.enumType('AppConnectionMethod', {
    description: 'The ways in which apps let us in.',
    values: enumValues(apps.flatMap((app) => app.methods)),
  });
  const Credentials = defineCredentials(builder, apps);
  const Verification = defineVerification(builder);
  const Connection = builder.objectRef<AppConnection>('AppConnection').implement({
    description:
      'A connection to a third-party product: where it is, how we are let in, and whether that works.',
    fields: (t) => ({
      id: t.expose('id', { type: 'UUID', description: 'The id, which never changes.' }),
      name: t.exposeString('name', {
        description:
          'The name, unique among the connections of one project, or among those without a project.',
      }),
      description: t.exposeString('description', { nullable: true, description: 'A note for people.' }),
      app: t.field({ type: AppEnum, description: 'The product.', resolve: (connection) => connection.app }),
      method: t.field({
        type: MethodEnum,
        description: 'How the app lets us in.',
        resolve: (connection) => connection.method,
      }),
      orgId: t.expose('orgId', { type: 'UUID', description: 'The organisation whose connection this is.' }),
      projectId: t.expose('projectId', {
        type: 'UUID',
        nullable: true,
        description: 'The project whose connection this is; null for one of the organisation itself.',
      }),
      version: t.exposeInt('version', { description: '1, and one more with every change.' }),
      createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
      updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'When it was last changed.' }),
      isPlatformManagedCredentials: t.exposeBoolean('isPlatformManagedCredentials', {
        description: 'Whether this server replaces the credentials by itself.',
      }),
      credentialsHash: t.exposeString('credentialsHash', {
        description:
          'A keyed hash of the credentials, 64 hex digits: equal within an organisation only if the credentials are.',
      }),
      credentials: t.field({
        type: Credentials,
        description: 'The public part of the credentials.',
        resolve: (connection) => connection,
      }),
      verification: t.field({
        type: Verification,
        description: 'What came of asking the app whether the credentials work.',
        resolve: (connection) => connection,
      }),
    }),
  });
  return { Connection, AppEnum, MethodEnum };
}

function defineVerification(builder: Builder) {
  const ErrorCodeEnum = defineErrorCode(builder);
  const Status = builder.enumType('VerificationStatus', {
    description: 'What came of asking the app whether the credentials work.',
    values: {
      VERIFIED: { description: 'The app accepted them.' },
      REJECTED: { description: 'The app judged them and said no.' },
      UNREACHABLE: { description: 'Nobody judged them: the app could not be asked.' },
    },
  });
  return builder.objectRef<AppConnection>('ConnectionVerification').implement({
    description: 'What came of the last time the app was asked.',
    fields: (t) => ({
      status: t.field({
        type: Status,
        description: 'The outcome.',
        resolve: (connection) => connection.verificationStatus,
      }),
      checkedAt: t.expose('verificationCheckedAt', {
        type: 'DateTime',
        nullable: true,
        description: 'When the app was asked.',
      }),
      lastVerifiedAt: t.expose('lastVerifiedAt', {
        type: 'DateTime',
        nullable: true,
        description: 'When the app last accepted the credentials; null if it never has.',
      }),
      failingSince: t.expose('failingSince', {
        type: 'DateTime',
        nullable: true,
        description: 'Since when every check has failed; null while the credentials work.',
      }),
      code: t.field({
        type: ErrorCodeEnum,
        nullable: true,
        description: 'What went wrong, for programs; null when nothing did.',
        resolve: (connection) => connection.verificationCode,
      }),
      message: t.exposeString('verificationMessage', {
        nullable: true,
        description: 'What went wrong, for people; null when nothing did.',
      }),
      remedy: t.exposeString('verificationRemedy', {
        nullable: true,
        description: 'What to do about it; null when nothing went wrong.',
      }),
      oktaRequestId: t.exposeString('upstreamRequestId', {
        nullable: true,
        description: "Okta's own id of the request, for Okta's support.",
      }),
    }),
  });
}

/** `AppConnectionCredentials`, and for each app the type that implements it. */
function defineCredentials(builder: Builder, apps: readonly App[]) {
  const typeName = (app: App) => `${app.name}Credentials`;
  const Credentials = builder.interfaceRef<AppConnection>('AppConnectionCredentials').implement({
    description: 'The public part of the credentials. The secret part never comes back.',
    resolveType: (connection) => {
      const app = apps.find(({ id }) => id === connection.app);
      return app && typeName(app);
    },
    fields: (t) => ({
      instanceUrl: t.string({
        nullable: true,
        description: 'Where the app lives, for apps of which there are many.',
        resolve: (connection) => connection.publicCredentials.instanceUrl,
      }),
    }),
  });
  for (const app of apps) {
    const { account } = app;
    const Account = account && defineAccount(builder, account);
    builder.objectRef<AppConnection>(typeName(app)).implement({
      description: `The public part of the credentials for ${app.name}.`,
      interfaces: [Credentials],
      fields: (t) => ({
        ...Object.fromEntries(
          fieldsOf(app)
            .filter(({ kind }) => kind !== 'SECRET')
            .map(({ name, required, help }) => [
              name,
              t.string({
                nullable: !required,
                description: help,
                resolve: ({ publicCredentials }) => textOrNull(publicCredentials[name]),
              }),
            ]),
        ),
        ...(Account && {
          [account.field]: t.field({
            type: Account,
            nullable: true,
            description: account.description,
            resolve: (connection) => connection.account,
          }),
        }),
      }),
    });
  }
  return Credentials;
}

/** What an app tells about the owner of the credentials. */
function defineAccount(builder: Builder, account: NonNullable<App['account']>) {
  return builder.objectRef<Record<string, string | null>>(account.type).implement({
    description: account.description,
    fields: (t) =>
      Object.fromEntries(
        Object.entries(account.fields).map(([name, { description, required }]) => [
          name,
          t.string({ nullable: !required, description, resolve: (owner) => textOrNull(owner[name]) }),
        ]),
      ),
  });
}

/** Which fields are nullable is known only at run time, where graphql itself refuses a null that may not be. */
function textOrNull(value: string | null | undefined): string {
  return value as string;
}

/** The fields of all methods of an app; one is required only if every method requires it. */
export function fieldsOf(app: App) {
  const names = new Set(app.methods.flatMap((method) => Object.keys(method.fields)));
  return [...names].flatMap((name) => {
    const [field] = app.methods.flatMap((method) => method.fields[name] ?? []);
    const required = app.methods.every((method) => method.fields[name]?.required === true);
    return field ? [{ ...field, name, required }] : [];
  });
}
