import { z } from 'zod';
import { type App, appTypeName, findDefaultMethod } from '../apps/app.ts';
import { Secret } from '../common/secret.ts';
import { strictObject } from '../common/strict-object.ts';
import {
  connectionName,
  createConnectionSchema,
  validateCredentialsSchema,
} from '../connections/input-schemas.ts';
import { updateConnectionSchema } from '../connections/update-input.ts';
import { describeMembers } from './body-descriptions.ts';

/** The body of a create: the schema of the service, for JSON. */
export function createBody(app: App) {
  const defaults = { ...methodDefault(app), onUnreachable: 'FAIL' };
  return z
    .preprocess((body) => withSecrets(app, { ...defaults, ...toObject(body) }), createConnectionSchema(app))
    .meta({
      id: `Create${appTypeName(app)}Connection`,
      description: `The connection to ${app.name} to create.`,
      override: ({ jsonSchema }) => {
        makeOptional(jsonSchema, defaults);
        describeMembers(jsonSchema, app);
      },
    });
}

function methodDefault(app: App): { method?: string } {
  const method = findDefaultMethod(app);
  return method === undefined ? {} : { method };
}

/** Removes members with defaults from the required members. */
function makeOptional({ oneOf = [] }: z.core.JSONSchema.BaseSchema, defaults: object): void {
  for (const each of oneOf) {
    if (!('required' in each)) continue;
    each.required = each.required?.filter((name) => !Object.hasOwn(defaults, name));
  }
}

/** The body of a validation: the schema of the service, for JSON. */
export function validateBody(app: App) {
  const defaults = methodDefault(app);
  return z
    .preprocess(
      (body) => withSecrets(app, { ...defaults, ...toObject(body) }),
      validateCredentialsSchema(app),
    )
    .meta({
      id: `Validate${appTypeName(app)}Credentials`,
      description: `The credentials for ${app.name} to check.`,
      override: ({ jsonSchema }) => {
        makeOptional(jsonSchema, defaults);
        describeMembers(jsonSchema, app);
      },
    });
}

/** The body of a restore. */
export const restoreBody = strictObject({
  name: connectionName.nullish().meta({ description: 'A new name, in case the old one has been taken.' }),
}).meta({ id: 'RestoreConnection', description: 'How to restore the connection.' });

/** The body of an update: the schema of the service, for JSON. */
export function updateBody(app: App) {
  return z
    .preprocess((body) => withSecrets(app, toObject(body)), updateConnectionSchema(app))
    .meta({
      id: `Update${appTypeName(app)}Connection`,
      description: 'The changes. Absent members stay as they are; null clears a member.',
      override: ({ jsonSchema }) => describeMembers(jsonSchema, app),
    });
}

/** Wraps the strings that the app declares as secret in `Secret`, in the member with the credentials. */
export function withSecrets(app: App, body: Record<string, unknown>, member = 'credentials'): unknown {
  const credentials = body[member];
  if (typeof credentials !== 'object' || credentials === null || Array.isArray(credentials)) return body;
  const isSecret = (name: string) => app.methods.some(({ fields }) => fields[name]?.kind === 'SECRET');
  const wrapped = Object.entries(credentials).map(([name, value]) => [
    name,
    typeof value === 'string' && isSecret(name) ? new Secret(value) : value,
  ]);
  return { ...body, [member]: Object.fromEntries(wrapped) };
}

/** Converts a body to an object that can be checked. */
export function toObject(body: unknown): Record<string, unknown> {
  return typeof body === 'object' ? { ...body } : {};
}
