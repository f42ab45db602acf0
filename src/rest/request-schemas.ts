import { z } from 'zod';
import type { App } from '../apps/app.ts';
import { timestamp } from '../common/date-time.ts';
import { pageSize } from '../common/pagination.ts';
import { strictObject } from '../common/strict-object.ts';
import { verificationStatuses } from '../connections/app-connection.entity.ts';
import { decodeCursor, orderFields } from '../connections/cursor.ts';
import {
  acknowledgeUseDescription,
  idempotencyKey,
  idempotencyKeyDescription,
  uuid,
} from '../connections/input-schemas.ts';
import { nameContainsSchema } from '../connections/list-input.ts';

/** The path parameter `:id`. */
export const idPath = z.object({ id: uuid.meta({ description: 'The id of the object.' }) });

const projectId = z
  .union([z.literal('null'), uuid], {
    error: 'A project id is a UUID; write "null" for what belongs to the organisation itself.',
  })
  .transform((id) => (id === 'null' ? null : id))
  .optional();

/** The query of routes without query parameters. */
export const noQuery = strictObject({});

/** The query of a lookup by name. */
export const projectQuery = strictObject({
  projectId: projectId.meta({
    description: 'The id of the project. Absent: a connection of the organisation itself.',
  }),
});

/** The message for text that is not a cursor of the list. */
export const invalidCursorMessage = 'This is not a cursor of this list; follow the Link header of a page.';

/**
 * The query parameters of pagination.
 *
 * @param cursor the schema of the list's cursors
 */
export function pageQuery(cursor: z.ZodType<string>) {
  return {
    limit: integerParameter(pageSize)
      .optional()
      .meta({ description: 'The number of items on a page, 1 to 100. Default: 20.' }),
    cursor: z
      .string()
      .refine((text) => cursor.safeParse(text).success, { error: invalidCursorMessage })
      .optional()
      .meta({
        description: 'The position from which to continue. Follow the `Link` header instead of building it.',
      }),
  };
}

/** A boolean query parameter. */
export const booleanParameter = z
  .enum(['true', 'false'])
  .default('false')
  .transform((text) => text === 'true');

const idEnum = (all: readonly { id: string }[]) => z.enum(all.map(({ id }) => id));

/**
 * The query of a list of connections: filter, order and page, as in GraphQL.
 *
 * @param apps the apps whose connections the route lists
 */
export function listQuery(apps: readonly App[]) {
  const methods = apps.flatMap((app) => app.methods);
  return strictObject({
    ...listed,
    method: idEnum(methods).optional().meta({ description: 'Only connections with this method.' }),
  });
}

/** The query of a list of connections to all apps. */
export function listAllQuery(apps: readonly App[]) {
  return listQuery(apps).extend({
    app: idEnum(apps).optional().meta({ description: 'Only connections to this app.' }),
  });
}

const healthTime = (member: string) =>
  timestamp.optional().meta({
    description: `Only connections with \`${member}\` of the health before this time, without outages of the host.`,
  });

const listed = {
  projectId: projectId.meta({
    description:
      'Only connections of this project; `null`: only connections without a project. Absent: all of the organisation.',
  }),
  status: z
    .enum(verificationStatuses)
    .optional()
    .meta({ description: 'Only connections whose last check had this result.' }),
  health: z.enum(verificationStatuses).optional().meta({
    description: 'Only connections whose health has this status, also because of an outage of the host.',
  }),
  namePrefix: nameContainsSchema.meta({ description: 'Only connections whose name starts with this text.' }),
  nameContains: nameContainsSchema.meta({ description: 'Only connections whose name contains this text.' }),
  tags: z.string().optional().meta({
    description:
      'Only connections with all of these tags, as `env=prod,team=identity`. Without `=` and a value: with any value. At most 10.',
  }),
  createdFrom: timestamp.optional().meta({ description: 'Only connections created at this time or later.' }),
  createdTo: timestamp.optional().meta({ description: 'Only connections created before this time.' }),
  updatedFrom: timestamp
    .optional()
    .meta({ description: 'Only connections last changed at this time or later.' }),
  updatedTo: timestamp.optional().meta({ description: 'Only connections last changed before this time.' }),
  expiresBefore: timestamp.optional().meta({
    description: 'Only connections whose credentials end before this time, also in the past.',
  }),
  sinceBefore: healthTime('since'),
  lastCheckBefore: healthTime('lastCheckAt'),
  nextCheckBefore: healthTime('nextCheckAt'),
  lastGoodBefore: healthTime('lastGoodAt'),
  orderBy: z.enum(orderFields).optional().meta({
    description:
      'The member to sort by. Default: `name`. `since`, `lastCheckAt`, `nextCheckAt`, `lastGoodAt` and `expiresAt` are those of the health, without outages of the host; null is later than every time.',
  }),
  direction: z.enum(['asc', 'desc']).optional().meta({ description: 'The sort direction. Default: `asc`.' }),
  ...pageQuery(
    z
      .string()
      .refine((text) =>
        orderFields.some(
          (field) =>
            decodeCursor({ field, direction: 'asc' }, text) ??
            decodeCursor({ field, direction: 'desc' }, text),
        ),
      ),
  ),
};

/** The headers of routes with idempotency keys. */
export const idempotencyHeaders = z.object({
  'idempotency-key': idempotencyKey.optional().meta({ description: idempotencyKeyDescription }),
});

/** The query of a deletion. */
export const deleteQuery = strictObject({
  version: integerParameter(z.int().min(1, { error: 'Versions start at 1.' }))
    .optional()
    .meta({
      description:
        'The version that you have read. If the connection has another, the request fails with `VERSION_CONFLICT`.',
    }),
  purge: booleanParameter.meta({
    description: 'Removes the connection and its secret permanently, also if it was deleted before.',
  }),
  acknowledgeUse: booleanParameter.meta({ description: acknowledgeUseDescription }),
});

/** An integer query parameter. */
export function integerParameter<T extends z.ZodType>(rule: T) {
  return z.preprocess(
    (text) => (typeof text === 'string' && /^-?\d{1,9}$/.test(text) ? Number(text) : text),
    rule,
  );
}

/** Reads the idempotency key of the header, which has precedence over the body. */
export function readIdempotencyKey(headers: { 'idempotency-key'?: string | undefined }): {
  idempotencyKey?: string;
} {
  const idempotencyKey = headers['idempotency-key'];
  return idempotencyKey === undefined ? {} : { idempotencyKey };
}
