import type { z } from 'zod';
import type { AuthMethod } from '../apps/app.ts';
import { createApps } from '../apps/index.ts';
import type { Issue } from '../common/errors.ts';
import { Secret } from '../common/secret.ts';
import { convertToSchema, findConversionMethod } from '../connections/convert-input.ts';
import {
  type CreateConnection,
  connectionName,
  createConnectionSchema,
} from '../connections/input-schemas.ts';
import { updateConnectionSchema } from '../connections/update-input.ts';
import { toAnnotations } from './annotations.tsx';
import type { AppOption, FieldOption, MethodOption } from './use-options.ts';

/** Accepts http for every host: only the server knows TRUSTED_INSTANCE_HOSTS, and reports the others. */
const apps = createApps({ trustedHosts: { has: () => true } });

/** Converts an id (`api-token`) to a GraphQL enum value (`API_TOKEN`). */
const toEnumValue = (id: string) => id.toUpperCase().replaceAll('-', '_');
/** Converts a GraphQL enum value (`API_TOKEN`) to an id (`api-token`). */
export const toId = (value: string) => value.toLowerCase().replaceAll('_', '-');

/** Finds an app by its enum value; undefined if the app was added after this page was built. */
export function findApp(app: string) {
  return apps.find(({ id }) => toEnumValue(id) === app);
}

function findMethod(app: string, method: string): AuthMethod | undefined {
  return findApp(app)?.methods.find(({ id }) => toEnumValue(id) === method);
}

/** Whether requests can be sent through connections with a method of an app. */
export function isUsable(app: string, method: string): boolean {
  return findMethod(app, method)?.use !== undefined;
}

/** A connection, and whether this server made its key. */
interface ManagedConnection {
  app: string;
  method: string;
  isPlatformManagedCredentials: boolean;
}

/** The app in names of GraphQL types and operations: `Okta`. */
export function toTypeName({ app }: Pick<AppOption, 'app'>): string {
  return toId(app).replace(/(?:^|-)(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** The values of a form, by field name. */
export type FormValues = Readonly<Record<string, string>>;

/** Validates a new connection, with the schema of the server if this page knows the app. */
export function validateCreate(
  option: AppOption,
  method: string,
  values: FormValues,
  fields: readonly FieldOption[],
) {
  const app = findApp(option.app);
  const { name, description } = values;
  const input = {
    name,
    description,
    ...toAnnotations(values),
    method: toId(method),
    credentials: toCredentials(values, fields),
    onUnreachable: 'FAIL',
  };
  return app
    ? validate<CreateConnection>(createConnectionSchema(app), input)
    : [...validate(connectionName, name, ['name']), ...findMissingFields(values, fields)];
}

/** Validates an update. `fields` are the credential fields in the form. */
export function validateUpdate(app: string, values: FormValues, fields: readonly FieldOption[]) {
  const definition = findApp(app);
  if (!definition) return findMissingFields(values, fields);
  const { name, description } = values;
  const credentials = fields.length > 0 ? toCredentials(values, fields) : undefined;
  const input = { name, description, ...toAnnotations(values), credentials };
  return validate(updateConnectionSchema(definition), input);
}

/**
 * Finds the method to which a connection can be converted. If it has that method with a key of the caller, the fields are those of a
 * conversion to a key of the server. Undefined if there is nothing to convert to.
 */
export function findConversionOption(
  { app, method, isPlatformManagedCredentials }: ManagedConnection,
  options: readonly AppOption[],
): MethodOption | undefined {
  const definition = findApp(app);
  const target = definition && findConversionMethod(definition);
  const isSame = target !== undefined && toEnumValue(target.id) === method;
  if (!target || (isSame && isPlatformManagedCredentials)) return undefined;
  const { methods = [] } = options.find((option) => option.app === app) ?? {};
  const option = methods.find((option) => option.method === toEnumValue(target.id));
  if (!isSame || !option) return option;
  return { ...option, fields: withoutKeyFields(option.fields, target) };
}

/** The fields of the credentials of a connection that can be changed: not those of a key of the server. */
export function listChangeableFields(
  { app, method, isPlatformManagedCredentials }: ManagedConnection,
  options: readonly AppOption[],
): readonly FieldOption[] {
  const option = options.find((option) => option.app === app);
  const { fields = [] } = option?.methods.find((option) => option.method === method) ?? {};
  return isPlatformManagedCredentials ? withoutKeyFields(fields, findMethod(app, method)) : fields;
}

function withoutKeyFields(
  fields: readonly FieldOption[],
  method: Pick<AuthMethod, 'managedKeys'> | undefined,
): FieldOption[] {
  const { privateKeyField, keyIdField } = method?.managedKeys ?? {};
  return fields.filter(({ name }) => name !== privateKeyField && name !== keyIdField);
}

/** Whether the credentials of a connection can be revoked at the app. */
export function isRevocable({ app, method }: { app: string; method: string }): boolean {
  return findMethod(app, method)?.revoke !== undefined;
}

/** Validates a conversion. `fields` are the credential fields in the form. */
export function validateConversion(app: string, values: FormValues, fields: readonly FieldOption[]) {
  const definition = findApp(app);
  const method = definition && findConversionMethod(definition);
  if (!method) return findMissingFields(values, fields);
  return validate(convertToSchema(method), toCredentials(values, fields));
}

function toCredentials(values: FormValues, fields: readonly FieldOption[]) {
  return Object.fromEntries(
    fields.map((field) => {
      const { name, secret, required } = field;
      const value = values[name] ?? '';
      if (value === '' && !required) return [name, undefined];
      return [name, secret ? new Secret(value) : toFieldInput(field, value)];
    }),
  );
}

/** Converts the text of a form to the value of a field. The members of a list are separated by white space or commas. */
export function toFieldInput({ kind }: Pick<FieldOption, 'kind'>, text: string): string | string[] {
  return kind === 'LIST' ? text.split(/[\s,]+/).filter(Boolean) : text;
}

/** Converts a public value of the credentials to the text of a form. */
export function toFieldText(value: unknown): string | undefined {
  if (Array.isArray(value)) return value.join(' ');
  return typeof value === 'string' ? value : undefined;
}

function findMissingFields(values: FormValues, fields: readonly FieldOption[]): Issue[] {
  return fields
    .filter(({ name, required }) => required && !values[name]?.trim())
    .map(({ name, label }) => ({ path: ['credentials', name], message: `${label} is required.` }));
}

function validate<T>(schema: z.ZodType<T>, input: unknown, prefix: string[] = []): Issue[] {
  const { error } = schema.safeParse(input);
  return (error?.issues ?? []).map(({ path, message }) => ({
    path: [...prefix, ...path.map(String)],
    message,
  }));
}
