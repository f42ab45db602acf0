import { z } from 'zod';
import { type App, typeNameOf } from '../apps/app.ts';
import { verificationStatuses } from '../connections/app-connection.entity.ts';
import { decodeCursor } from '../connections/cursor.ts';
import { namePart } from '../connections/find-input.ts';
import {
  connectionName,
  createConnectionRule,
  idempotencyKey,
  idempotencyKeyDescription,
  moment,
  nothingElse,
  pageSize,
  updateConnectionRule,
  uuid,
  validateCredentialsRule,
} from '../connections/input.ts';
import { Secret } from '../secrets/secret.ts';

/** `:id` of a path. */
export const idPath = z.object({ id: uuid.meta({ description: 'The id.' }) });

const projectId = z
  .union([z.literal('null'), uuid], {
    error: 'A project id is a UUID; write "null" for what belongs to the organisation itself.',
  })
  .transform((id) => (id === 'null' ? null : id))
  .optional();

/** For routes that take nothing there. */
export const noQuery = nothingElse({});

/** Where a name is looked for. */
export const placeQuery = nothingElse({
  projectId: projectId.meta({
    description: 'The project; leave it out for a connection of the organisation itself.',
  }),
});

/** What is said of a cursor that is none of this list. */
const noCursor = 'This is no cursor of this list; follow the Link header of a page.';

/**
 * Which page of a list is asked for.
 *
 * @param cursor the rule of its cursors
 */
export function pageQuery(cursor: z.ZodType<string>) {
  return {
    limit: wholeNumber(pageSize)
      .optional()
      .meta({ description: 'How many to give, 1 to 100; 20 unless given.' }),
    cursor: z
      .string()
      .refine((text) => cursor.safeParse(text).success, { error: noCursor })
      .optional()
      .meta({ description: 'Where to read on: follow the `Link` header.' }),
  };
}

/** Yes or no out of a query. */
export const yesOrNo = z
  .enum(['true', 'false'])
  .default('false')
  .transform((text) => text === 'true');

/** A moment as JSON and queries have it. */
export const timestamp = z.iso
  .datetime({ offset: true, error: 'Give a moment as RFC 3339 has it: 2007-12-03T10:15:30.125Z.' })
  .transform((text) => new Date(text))
  .pipe(moment);

const orders = ['name', 'createdAt', 'updatedAt'] as const;
const oneOfIds = (all: readonly { id: string }[]) => z.enum(all.map(({ id }) => id));

/**
 * Which connections are asked for, in what order, and which page of them: the filter and the order of GraphQL.
 *
 * @param apps the apps whose connections the route lists
 */
export function listQuery(apps: readonly App[]) {
  const methods = apps.flatMap((app) => app.methods);
  return nothingElse({
    ...listed,
    method: oneOfIds(methods).optional().meta({ description: 'Only those by this method.' }),
  });
}

/** As `listQuery`, of every app. */
export function listQueryOfAll(apps: readonly App[]) {
  return listQuery(apps).extend({
    app: oneOfIds(apps).optional().meta({ description: 'Only those to this app.' }),
  });
}

const listed = {
  projectId: projectId.meta({
    description:
      'Only those of this project; `null` for only those without a project; absent for all of the organisation.',
  }),
  status: z
    .enum(verificationStatuses)
    .optional()
    .meta({ description: 'Only those of which the last check had this outcome.' }),
  namePrefix: namePart.meta({ description: 'Only those whose name starts with this.' }),
  nameContains: namePart.meta({ description: 'Only those whose name has this in it.' }),
  createdFrom: timestamp.optional().meta({ description: 'Made at this moment or later.' }),
  createdTo: timestamp.optional().meta({ description: 'Made before this moment.' }),
  updatedFrom: timestamp.optional().meta({ description: 'Last changed at this moment or later.' }),
  updatedTo: timestamp.optional().meta({ description: 'Last changed before this moment.' }),
  orderBy: z
    .enum(orders)
    .optional()
    .meta({ description: 'What the list is in order of; `name` unless given.' }),
  direction: z.enum(['asc', 'desc']).optional().meta({ description: 'Which way round; `asc` unless given.' }),
  ...pageQuery(
    z
      .string()
      .refine((text) =>
        orders.some(
          (field) =>
            decodeCursor({ field, direction: 'asc' }, text) ??
            decodeCursor({ field, direction: 'desc' }, text),
        ),
      ),
  ),
};

/** For routes that change something. */
export const repeatable = z.object({
  'idempotency-key': idempotencyKey.optional().meta({ description: idempotencyKeyDescription }),
});

/** How to delete. */
export const deleteQuery = nothingElse({
  version: wholeNumber(z.int().min(1, { error: 'Versions start at 1.' }))
    .optional()
    .meta({ description: 'The version that you have seen; `VERSION_CONFLICT` if it has changed.' }),
  purge: yesOrNo.meta({
    description: 'Really removes it and its secret, with no way back; also one deleted before.',
  }),
});

/** The body with which a connection to this app is made: the service's rule, for JSON. */
export function createBody(app: App) {
  const [onlyMethod, anotherMethod] = app.methods;
  const defaults = { ...(!anotherMethod && { method: onlyMethod?.id }), onUnreachable: 'FAIL' };
  return z
    .preprocess((body) => withSecrets(app, { ...defaults, ...toObject(body) }), createConnectionRule(app))
    .meta({
      id: `Create${typeNameOf(app)}Connection`,
      description: `A connection to ${app.name} to be made.`,
      override: ({ jsonSchema }) => makeOptional(jsonSchema, defaults),
    });
}

/** What has a default may be left out. */
function makeOptional({ oneOf = [] }: z.core.JSONSchema.BaseSchema, defaults: object): void {
  for (const each of oneOf) {
    if (!('required' in each)) continue;
    each.required = each.required?.filter((name) => !Object.hasOwn(defaults, name));
  }
}

/** The body with which credentials for this app are tried: the service's rule, for JSON. */
export function validateBody(app: App) {
  const [onlyMethod, anotherMethod] = app.methods;
  const defaults = anotherMethod ? {} : { method: onlyMethod?.id };
  return z
    .preprocess((body) => withSecrets(app, { ...defaults, ...toObject(body) }), validateCredentialsRule(app))
    .meta({
      id: `Validate${typeNameOf(app)}Credentials`,
      description: `Credentials for ${app.name} to be tried.`,
      override: ({ jsonSchema }) => makeOptional(jsonSchema, defaults),
    });
}

/** The body with which a deleted connection is brought back. */
export const restoreBody = nothingElse({
  name: connectionName
    .nullish()
    .meta({ description: 'A new name, for when the old one has been taken meanwhile.' }),
}).meta({ id: 'RestoreConnection', description: 'Under which name to bring a connection back.' });

/** The body with which a connection to this app is changed: the service's rule, for JSON. */
export function updateBody(app: App) {
  return z
    .preprocess((body) => withSecrets(app, toObject(body)), updateConnectionRule(app))
    .meta({
      id: `Update${typeNameOf(app)}Connection`,
      description: 'What is to change: what is left out stays, null clears what may be empty.',
    });
}

/** JSON has no secrets, only strings: those that the app declares as secret become `Secret`s. */
function withSecrets(app: App, body: Record<string, unknown>): unknown {
  const { credentials } = body;
  if (typeof credentials !== 'object' || credentials === null || Array.isArray(credentials)) return body;
  const isSecret = (name: string) => app.methods.some(({ fields }) => fields[name]?.kind === 'SECRET');
  const wrapped = Object.entries(credentials).map(([name, value]) => [
    name,
    typeof value === 'string' && isSecret(name) ? new Secret(value) : value,
  ]);
  return { ...body, credentials: Object.fromEntries(wrapped) };
}

function toObject(body: unknown): Record<string, unknown> {
  return typeof body === 'object' ? { ...body } : {};
}

/** A whole number out of a query, where all is text. */
export function wholeNumber<T extends z.ZodType>(rule: T) {
  return z.preprocess(
    (text) => (typeof text === 'string' && /^-?\d{1,9}$/.test(text) ? Number(text) : text),
    rule,
  );
}
