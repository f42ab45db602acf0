import type { z } from 'zod';
import { createApps } from '../apps/index.ts';
import type { Issue } from '../common/errors.ts';
import { Secret } from '../common/secret.ts';
import {
  type CreateConnection,
  connectionName,
  createConnectionSchema,
  updateConnectionSchema,
} from '../connections/input-schemas.ts';
import type { AppOption, FieldOption } from './use-options.ts';

/** Only the server knows which hosts may be http; what it refuses, it says. */
const apps = createApps({ trustedHosts: { has: () => true } });

/** Enums have in capitals what ids have in small letters. */
const enumOf = (id: string) => id.toUpperCase().replaceAll('-', '_');
const idOf = (value: string) => value.toLowerCase().replaceAll('_', '-');

/** The app as the server knows it; undefined when it is younger than this page. */
export function appOf(app: string) {
  return apps.find(({ id }) => enumOf(id) === app);
}

/** The app in the names of types and operations: `Okta`. */
export function typeNameOf({ app }: Pick<AppOption, 'app'>): string {
  return idOf(app).replace(/(?:^|-)(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** What was typed into the fields of a form, by their names. */
export type Values = Readonly<Record<string, string>>;

/** The rules that a new connection breaks: the server's own, as far as this page knows the app. */
export function issuesOfNew(
  option: AppOption,
  method: string,
  values: Values,
  fields: readonly FieldOption[],
) {
  const app = appOf(option.app);
  const { name, description } = values;
  const input = {
    name,
    description,
    method: idOf(method),
    credentials: credentialsOf(values, fields),
    onUnreachable: 'FAIL',
  };
  return app
    ? issuesOf<CreateConnection>(createConnectionSchema(app), input)
    : [...issuesOf(connectionName, name, ['name']), ...missing(values, fields)];
}

/** The rules that a change breaks; `fields` are those that the form has. */
export function issuesOfChange(app: string, values: Values, fields: readonly FieldOption[]) {
  const known = appOf(app);
  if (!known) return missing(values, fields);
  const { name, description } = values;
  const credentials = fields.length > 0 ? credentialsOf(values, fields) : undefined;
  return issuesOf(updateConnectionSchema(known), { name, description, credentials });
}

function credentialsOf(values: Values, fields: readonly FieldOption[]) {
  return Object.fromEntries(
    fields.map(({ name, secret, required }) => {
      const value = values[name] ?? '';
      if (value === '' && !required) return [name, undefined];
      return [name, secret ? new Secret(value) : value];
    }),
  );
}

function missing(values: Values, fields: readonly FieldOption[]): Issue[] {
  return fields
    .filter(({ name, required }) => required && !values[name]?.trim())
    .map(({ name, label }) => ({ path: ['credentials', name], message: `${label} is required.` }));
}

function issuesOf<T>(rule: z.ZodType<T>, input: unknown, at: string[] = []): Issue[] {
  const { error } = rule.safeParse(input);
  return (error?.issues ?? []).map(({ path, message }) => ({ path: [...at, ...path.map(String)], message }));
}
