import { type App, appTypeName, hasRateLimits, requestIdField } from '../../apps/app.ts';
import { dateTime } from '../../common/date-time.ts';
import { type Builder, enumValues } from '../../graphql/builder.ts';
import { definePageInfo } from '../../graphql/page-info.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { requireApp } from '../deps.ts';
import { describeMaxShare, getMaxShare } from '../rate-budget/max-share.ts';
import { toUsageRange } from '../usage/usage-range.ts';
import { getUsePolicy } from '../use-policy/use-policy.ts';
import { defineUsageTypes, loadLastUse } from './usage-types.ts';
import { defineUsePolicyTypes } from './use-policy-types.ts';
import { defineVerification } from './verification-type.ts';

/** The types of connections that the fields of the schema use. */
export type ConnectionTypes = ReturnType<typeof defineConnectionTypes>;

/** Defines `AppConnection` and the types of its fields from the registered apps. */
export function defineConnectionTypes(builder: Builder, apps: readonly App[]) {
  const AppEnum = builder.enumType('App', {
    description: 'The apps that connections can be made to.',
    values: enumValues(apps),
  });
  const MethodEnum = builder.enumType('AppConnectionMethod', {
    description: 'The methods of authentication to apps.',
    values: enumValues(collectMethods(apps)),
  });
  const { Credentials, ofApps } = defineCredentials(builder, apps);
  const { Verification, Status, ErrorCodeEnum } = defineVerification(builder, apps);
  const usePolicy = defineUsePolicyTypes(builder, apps);
  const usage = defineUsageTypes(builder);
  const Connection = builder.objectRef<AppConnection>('AppConnection').implement({
    description:
      'A connection to an app: its location, the method of authentication, and whether the credentials work.',
    fields: (t) => ({
      id: t.expose('id', { type: 'UUID', description: 'The id. It never changes.' }),
      name: t.exposeString('name', {
        description:
          'The name, unique among the connections of one project, or among those without a project.',
      }),
      description: t.exposeString('description', {
        nullable: true,
        description: 'A description for people.',
      }),
      app: t.expose('app', { type: AppEnum, description: 'The app.' }),
      method: t.expose('method', {
        type: MethodEnum,
        description: 'The method of authentication to the app.',
      }),
      orgId: t.expose('orgId', { type: 'UUID', description: 'The id of the organisation.' }),
      projectId: t.expose('projectId', {
        type: 'UUID',
        nullable: true,
        description: 'The id of the project; null for a connection of the organisation itself.',
      }),
      version: t.exposeInt('version', {
        description: 'The version for optimistic locking: 1 at first, plus 1 with each change.',
      }),
      createdAt: t.expose('createdAt', { type: 'DateTime', description: 'The time of creation.' }),
      updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'The time of the last change.' }),
      isPlatformManagedCredentials: t.exposeBoolean('isPlatformManagedCredentials', {
        description: 'Whether this server creates and replaces the credentials.',
      }),
      credentialsHash: t.exposeString('credentialsHash', {
        description:
          'A keyed hash of the credentials, 64 hex digits. Two connections of an organisation have the same hash only if their credentials are the same.',
      }),
      credentials: t.field({
        type: Credentials,
        description: 'The public part of the credentials.',
        resolve: (connection) => connection,
      }),
      verification: t.field({
        type: Verification,
        description: 'The result of verifying the credentials with the app.',
        resolve: (connection) => connection,
      }),
      usePolicy: t.field({
        type: usePolicy.Policy,
        description: 'The requests that callers may send to the app through the connection.',
        resolve: (connection, _, { connections }) =>
          getUsePolicy(requireApp(connections, connection.app), connection),
      }),
      maxShareOfRateLimit: t.int({
        nullable: true,
        description: `${describeMaxShare({ name: 'the app' })} Null if the app has none.`,
        resolve: (connection, _, { connections }) =>
          hasRateLimits(requireApp(connections, connection.app)) ? getMaxShare(connection) : null,
      }),
      lastUsedAt: t.field({
        type: 'DateTime',
        nullable: true,
        description: 'When the app last answered a request through the connection; null if it never did.',
        resolve: async (connection, _, context) => (await loadLastUse(connection, context))?.at,
      }),
      lastUsedBy: t.field({
        type: usage.Caller,
        nullable: true,
        description: 'The caller of that request.',
        resolve: async (connection, _, context) => (await loadLastUse(connection, context))?.caller,
      }),
      usage: t.field({
        type: usage.Usage,
        description: 'The requests through the connection.',
        args: {
          from: t.arg({
            type: 'DateTime',
            description:
              'The beginning, inclusive, rounded down to the interval. Absent: 24 hours or 30 days before the end.',
            validate: { schema: dateTime },
          }),
          to: t.arg({
            type: 'DateTime',
            description: 'The end, exclusive, rounded up to the interval. Absent: now.',
            validate: { schema: dateTime },
          }),
          by: t.arg({
            type: usage.Interval,
            required: true,
            defaultValue: 'HOUR',
            description: 'The length of the intervals. A range has at most 200.',
          }),
        },
        resolve: ({ id }, range) => ({ connectionId: id, ...toUsageRange(range) }),
      }),
    }),
  });
  return {
    Connection,
    PageInfo: definePageInfo(builder),
    AppEnum,
    MethodEnum,
    Status,
    ErrorCodeEnum,
    ofApps,
    usePolicy,
    detailFields: collectDetailFields(apps),
  };
}

/** The fields that need more than `summaryColumns`. */
function collectDetailFields(apps: readonly App[]): ReadonlySet<string> {
  return new Set([
    'isPlatformManagedCredentials',
    'usePolicy',
    'maxShareOfRateLimit',
    'lastVerifiedAt',
    'failingSince',
    'code',
    'message',
    'remedy',
    ...apps.flatMap((app) => [requestIdField(app), ...(app.account ? [app.account.field] : [])]),
  ]);
}

/** Every method once. A method of several apps has the descriptions of all of them. */
function collectMethods(apps: readonly App[]): { id: string; description: string }[] {
  const uses = apps.flatMap(({ name, methods }) => methods.map((method) => ({ name, ...method })));
  return [...Map.groupBy(uses, ({ id }) => id)].map(([id, methods]) => {
    const descriptions = methods.map(({ name, description }) =>
      methods.length > 1 ? `${name}: ${description}` : description,
    );
    return { id, description: descriptions.join('\n\n') };
  });
}

/** Defines `AppConnectionCredentials`, and for each app its implementation and its input type. */
function defineCredentials(builder: Builder, apps: readonly App[]) {
  const typeName = (app: App) => `${appTypeName(app)}Credentials`;
  const typeNames = new Map(apps.map((app) => [app.id, typeName(app)]));
  const Credentials = builder.interfaceRef<AppConnection>('AppConnectionCredentials').implement({
    description: 'The public part of the credentials. The secret part is never returned.',
    resolveType: ({ app }) => typeNames.get(app),
    fields: (t) => ({
      instanceUrl: t.string({
        nullable: true,
        description: 'The URL of the instance, for apps that have many.',
        resolve: (connection) => connection.publicCredentials.instanceUrl,
      }),
    }),
  });
  const ofApps = apps.map((app) => {
    const { account } = app;
    const Account = account && defineAccount(builder, account);
    builder.objectRef<AppConnection>(typeName(app)).implement({
      description: `The public part of the credentials for ${app.name}.`,
      interfaces: [Credentials],
      fields: (t) => ({
        ...Object.fromEntries(
          appTypeFields(app)
            .filter(({ kind }) => kind !== 'SECRET')
            .map(({ name, required, help }) => [
              name,
              t.string({
                nullable: !required,
                description: help,
                resolve: ({ publicCredentials }) => asNonNullable(publicCredentials[name]),
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
    return { app, Account, CredentialsInput: defineCredentialsInput(builder, app) };
  });
  return { Credentials, ofApps };
}

/** Defines `…CredentialsInput` with the fields of all methods of an app. */
function defineCredentialsInput(builder: Builder, app: App) {
  return builder.inputType(`${appTypeName(app)}CredentialsInput`, {
    description: `The credentials for ${app.name}.`,
    fields: (t) =>
      Object.fromEntries(
        appTypeFields(app).map(({ name, kind, required, help, whereToFind }) => [
          name,
          t.field({
            type: kind === 'SECRET' ? 'Secret' : 'String',
            required,
            description: `${help} ${whereToFind}`,
          }),
        ]),
      ),
  });
}

/** Defines the type of the owner of the credentials at an app. */
function defineAccount(builder: Builder, account: NonNullable<App['account']>) {
  return builder.objectRef<Record<string, string | null>>(account.type).implement({
    description: account.description,
    fields: (t) =>
      Object.fromEntries(
        Object.entries(account.fields).map(([name, { description, required }]) => [
          name,
          t.string({ nullable: !required, description, resolve: (owner) => asNonNullable(owner[name]) }),
        ]),
      ),
  });
}

/**
 * Casts a value of a field whose nullability is known only at run time, because it comes from the app. graphql reports a
 * null in a non-nullable field.
 */
function asNonNullable(value: string | null | undefined): string {
  return value as string;
}

/** The fields of all methods of an app. A field is required if every method requires it. */
export function appTypeFields(app: App) {
  const names = new Set(app.methods.flatMap((method) => Object.keys(method.fields)));
  return [...names].flatMap((name) => {
    const [field] = app.methods.flatMap((method) => method.fields[name] ?? []);
    const required = app.methods.every((method) => method.fields[name]?.required === true);
    return field ? [{ ...field, name, required }] : [];
  });
}
