import { z } from 'zod';
import { isoDateTime } from '../common/date-time.ts';
import { createCursorCodec } from '../common/pagination.ts';
import { typedKeys } from '../common/typed-keys.ts';
import type { AppConnection } from './app-connection.entity.ts';
import { connectionName } from './input-schemas.ts';

/** The order of a list of connections. Connections with equal values are ordered by id, in the same direction. */
export interface ConnectionOrder {
  field: keyof typeof codecs;
  direction: 'asc' | 'desc';
}

/** A position in a list: the sort value and the id of the connection that is or was there. */
export interface Cursor {
  /** Null is later than every time. */
  value: string | Date | null;
  id: string;
}

const codecs = {
  name: createCodecs('name', connectionName),
  createdAt: createCodecs('createdAt', isoDateTime),
  updatedAt: createCodecs('updatedAt', isoDateTime),
  since: createCodecs('since', isoDateTime.nullable()),
  lastCheckAt: createCodecs('lastCheckAt', isoDateTime.nullable()),
  nextCheckAt: createCodecs('nextCheckAt', isoDateTime.nullable()),
  lastGoodAt: createCodecs('lastGoodAt', isoDateTime.nullable()),
  expiresAt: createCodecs('expiresAt', isoDateTime.nullable()),
};

/** The fields by which connections can be sorted. */
export const orderFields = typedKeys(codecs);

/** The properties of connections that hold the values of the fields. */
const properties = {
  ...{ name: 'name', createdAt: 'createdAt', updatedAt: 'updatedAt' },
  ...{ since: 'failingSince', lastCheckAt: 'verificationCheckedAt', nextCheckAt: 'nextCheckAt' },
  ...{ lastGoodAt: 'lastVerifiedAt', expiresAt: 'expiresAt' },
} as const satisfies Record<ConnectionOrder['field'], keyof AppConnection>;

function createCodecs(field: string, valueSchema: z.ZodType<Cursor['value']>) {
  const key = z.tuple([valueSchema, z.uuid()]);
  return { asc: createCursorCodec([field, 'asc'], key), desc: createCursorCodec([field, 'desc'], key) };
}

/** Encodes the position of a connection in a list of this order. */
export function encodeCursor({ field, direction }: ConnectionOrder, connection: AppConnection): string {
  return codecs[field][direction].encode([connection[properties[field]] ?? null, connection.id]);
}

/** Decodes a position; undefined if the text is not a cursor of a list of this order. */
export function decodeCursor({ field, direction }: ConnectionOrder, cursor: string): Cursor | undefined {
  const [value, id] = codecs[field][direction].decode(cursor) ?? [];
  return value !== undefined && id !== undefined ? { value, id } : undefined;
}
