import { type App, type AuthMethod, appTypeName, isAlwaysRequired, splitList } from '../../apps/app.ts';
import type { Field } from '../../apps/credentials.ts';
import type { Builder } from '../../graphql/builder.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { describeKeys, getJwksUrl } from '../credentials/keys.ts';
import { defineKeyTypes, type ErrorCodes } from './key-types.ts';

/** A field with its name, and whether it is required wherever it is shown. */
type NamedField = Field & { name: string };

/** The fields of credentials that need more than `summaryColumns`. */
export function credentialsDetailFields(apps: readonly App[]): string[] {
  return [
    'keys',
    'keyRegistrationFailure',
    ...apps.flatMap(({ account }) => (account ? [account.field] : [])),
  ];
}

/** Defines `AppConnectionCredentials`, and for each app its implementations and its input type. */
export function defineCredentials(builder: Builder, apps: readonly App[], verification: ErrorCodes) {
  const typeNames = new Map(
    apps.flatMap((app) =>
      app.methods.map((method) => [`${app.id} ${method.id}`, credentialsTypeName(app, method)] as const),
    ),
  );
  const Credentials = builder.interfaceRef<AppConnection>('AppConnectionCredentials').implement({
    description: 'The public part of the credentials. The secret part is never returned.',
    resolveType: ({ app, method }) => typeNames.get(`${app} ${method}`),
    fields: (t) => ({
      instanceUrl: t.string({
        nullable: true,
        description: 'The URL of the instance, for apps that have many.',
        resolve: (connection) => connection.publicCredentials.instanceUrl,
      }),
    }),
  });
  const hasKeys = apps.some(({ methods }) => methods.some(({ managedKeys }) => managedKeys));
  const KeyTypes = hasKeys ? defineKeyTypes(builder, verification) : undefined;
  const appTypes = apps.map((app) => {
    const Account = app.account && defineAccount(builder, app.account);
    const methods = Map.groupBy(app.methods, (method) => credentialsTypeName(app, method));
    for (const [name, ofType] of methods) {
      const isShared = ofType.some(({ hasOwnCredentialsType }) => !hasOwnCredentialsType);
      builder.objectRef<AppConnection>(name).implement({
        description: describeType(app, ofType, isShared),
        interfaces: [Credentials],
        fields: (t) => ({
          ...Object.fromEntries(
            collectFields(ofType)
              .filter(({ kind }) => kind !== 'SECRET')
              .map(({ name, kind, required, help }) => [
                name,
                kind === 'LIST'
                  ? t.stringList({
                      nullable: !required,
                      description: help,
                      resolve: ({ publicCredentials }) => asNonNullable(toList(publicCredentials[name])),
                    })
                  : t.string({
                      nullable: !required,
                      description: help,
                      resolve: ({ publicCredentials }) => asNonNullable(publicCredentials[name]),
                    }),
              ]),
          ),
          ...(isShared &&
            app.account &&
            Account && {
              [app.account.field]: t.field({
                type: Account,
                nullable: true,
                description: app.account.description,
                resolve: (connection) => connection.account,
              }),
            }),
          ...(KeyTypes &&
            ofType.some(({ managedKeys }) => managedKeys) && {
              keys: t.field({
                type: [KeyTypes.Key],
                description: 'The public keys of the key pairs, the oldest first.',
                resolve: describeKeys,
              }),
              jwksUrl: t.string({
                description:
                  'The URL at which this server publishes the public keys as a JWK set, for apps that fetch keys.',
                resolve: (connection, _, { connections }) => getJwksUrl(connections, connection),
              }),
              keyRegistrationFailure: t.expose('keyRegistrationFailure', {
                type: KeyTypes.Failure,
                nullable: true,
                description:
                  'Why the app has not let this server add or remove keys when that was tried last, or which keys a former client of the app still has; null if there is nothing to say.',
              }),
            }),
        }),
      });
    }
    return { app, Account, CredentialsInput: defineCredentialsInput(builder, app) };
  });
  return { Credentials, appTypes };
}

function credentialsTypeName(app: App, method: AuthMethod): string {
  return `${appTypeName(app)}${method.hasOwnCredentialsType ? appTypeName(method) : ''}Credentials`;
}

function describeType({ name }: App, methods: readonly AuthMethod[], isShared: boolean): string {
  const labels = methods.map(({ label }) => `“${label}”`).join(' and ');
  return `The public part of the credentials for ${name}${isShared ? '' : `, for the method ${labels}`}.`;
}

function toList(value: string | undefined): string[] | undefined {
  return value === undefined ? undefined : splitList(value);
}

/** The GraphQL type of the input of a field. Resolvers get what the schema of the field makes of a list: one text. */
export function inputFieldType(kind: Field['kind']): 'String' | 'Secret' {
  if (kind === 'LIST') return ['String'] as unknown as 'String';
  return kind === 'SECRET' ? 'Secret' : 'String';
}

/** Defines `…CredentialsInput` with the fields of all methods of an app. */
function defineCredentialsInput(builder: Builder, app: App) {
  return builder.inputType(`${appTypeName(app)}CredentialsInput`, {
    description: `The credentials for ${app.name}.`,
    fields: (t) =>
      Object.fromEntries(
        appTypeFields(app).map(({ name, kind, required, help, whereToFind }) => [
          name,
          t.field({ type: inputFieldType(kind), required, description: `${help} ${whereToFind}` }),
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
function asNonNullable<T>(value: T | null | undefined): T {
  return value as T;
}

/** The fields of all methods of an app. A field is required if every method requires it. */
export function appTypeFields({ methods }: App): NamedField[] {
  return collectFields(methods);
}

function collectFields(methods: readonly AuthMethod[]): NamedField[] {
  const names = new Set(methods.flatMap(({ fields }) => Object.keys(fields)));
  return [...names].flatMap((name) => {
    const [field] = methods.flatMap(({ fields }) => fields[name] ?? []);
    const required = methods.every(({ fields }) => fields[name] && isAlwaysRequired(fields[name]));
    return field ? [{ ...field, name, required }] : [];
  });
}
