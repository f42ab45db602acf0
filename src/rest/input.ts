import { z } from 'zod';
import { type App, typeNameOf } from '../apps/app.ts';
import { decodeCursor } from '../connections/cursor.ts';
import {
  createConnectionRule,
  idempotencyKey,
  idempotencyKeyDescription,
  nothingElse,
  pageSize,
  updateConnectionRule,
  uuid,
} from '../connections/input.ts';
import { Secret } from '../secrets/secret.ts';

/** `:id` of a path. */
export const idPath = z.object({ id: uuid.meta({ description: 'The id of the connection.' }) });

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

/** Which part of a list is asked for. */
export const listQuery = nothingElse({
  projectId: projectId.meta({
    description:
      'Only those of this project; `null` for only those without a project; absent for all of the organisation.',
  }),
  limit: wholeNumber(pageSize)
    .optional()
    .meta({ description: 'How many to give, 1 to 100; 20 unless given.' }),
  cursor: z
    .string()
    .refine((text) => decodeCursor({ field: 'name', direction: 'asc' }, text) !== undefined, {
      error: 'This is no cursor of this list; follow the Link header of a page.',
    })
    .optional()
    .meta({ description: 'Where to read on: follow the `Link` header.' }),
});

/** For routes that change something. */
export const repeatable = z.object({
  'idempotency-key': idempotencyKey.optional().meta({ description: idempotencyKeyDescription }),
});

/** How to delete. */
export const deleteQuery = nothingElse({
  version: wholeNumber(z.int().min(1, { error: 'Versions start at 1.' }))
    .optional()
    .meta({ description: 'The version that you have seen; `VERSION_CONFLICT` if it has changed.' }),
  purge: z
    .enum(['true', 'false'])
    .default('false')
    .transform((text) => text === 'true')
    .meta({ description: 'Really removes it and its secret, with no way back; also one deleted before.' }),
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
      override: ({ jsonSchema }) => {
        for (const each of jsonSchema.oneOf ?? []) {
          if (!('required' in each)) continue;
          each.required = each.required?.filter((name) => !Object.hasOwn(defaults, name));
        }
      },
    });
}

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
function wholeNumber<T extends z.ZodType>(rule: T) {
  return z.preprocess(
    (text) => (typeof text === 'string' && /^-?\d{1,9}$/.test(text) ? Number(text) : text),
    rule,
  );
}
