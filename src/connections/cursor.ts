import { z } from 'zod';
import type { AppConnection } from './app-connection.entity.ts';
import { connectionName, moment } from './input.ts';

/** What a list is in order of; connections that are equal in it are in order of their ids, the same way round. */
export interface ConnectionOrder {
  field: 'name' | 'createdAt' | 'updatedAt';
  direction: 'asc' | 'desc';
}

/** A place in a list: between two connections, or where one is or was. */
export interface Cursor {
  value: string | Date;
  id: string;
}

const values = {
  name: connectionName,
  createdAt: z.iso.datetime().pipe(z.coerce.date()).pipe(moment),
  updatedAt: z.iso.datetime().pipe(z.coerce.date()).pipe(moment),
} satisfies Record<ConnectionOrder['field'], z.ZodType<string | Date>>;

/** The opaque form of a connection's place, that callers hand back to read on from it in the same order. */
export function encodeCursor({ field, direction }: ConnectionOrder, connection: AppConnection): string {
  const parts = [field, direction, connection[field], connection.id];
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

/** The place that a cursor is of, or undefined when this server did not make it for a list in this order. */
export function decodeCursor({ field, direction }: ConnectionOrder, text: string): Cursor | undefined {
  const rule = z.tuple([z.literal(field), z.literal(direction), values[field], z.uuid()]);
  try {
    const [, , value, id] = rule.parse(JSON.parse(Buffer.from(text, 'base64url').toString()));
    return { value, id };
  } catch {
    return undefined;
  }
}
