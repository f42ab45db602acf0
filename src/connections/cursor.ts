import { z } from 'zod';
import { maxCursorLength } from '../common/text.ts';
import type { AppConnection } from './app-connection.entity.ts';
import { connectionName, dateTime } from './input-schemas.ts';

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

const storedMoment = z.iso.datetime().pipe(z.coerce.date()).pipe(dateTime);

// Made once: making one takes ten times as long as using it.
const rules = {
  name: cursorSchemas('name', connectionName),
  createdAt: cursorSchemas('createdAt', storedMoment),
  updatedAt: cursorSchemas('updatedAt', storedMoment),
} satisfies Record<ConnectionOrder['field'], unknown>;

function cursorSchemas(field: ConnectionOrder['field'], value: z.ZodType<Cursor['value']>) {
  const ruleOf = (direction: ConnectionOrder['direction']) =>
    z.tuple([z.literal(field), z.literal(direction), value, z.uuid()]);
  return { asc: ruleOf('asc'), desc: ruleOf('desc') };
}

/** The opaque form of a connection's place, that callers hand back to read on from it in the same order. */
export function encodeCursor({ field, direction }: ConnectionOrder, connection: AppConnection): string {
  const parts = [field, direction, connection[field], connection.id];
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

/** The place that a cursor is of, or undefined when this server did not make it for a list in this order. */
export function decodeCursor({ field, direction }: ConnectionOrder, text: string): Cursor | undefined {
  if (text.length > maxCursorLength) return undefined;
  try {
    const [, , value, id] = rules[field][direction].parse(
      JSON.parse(Buffer.from(text, 'base64url').toString()),
    );
    return { value, id };
  } catch {
    return undefined;
  }
}
